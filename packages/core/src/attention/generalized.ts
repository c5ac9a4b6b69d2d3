import { headShape } from "./head-shape.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";
import { ArgumentError } from "../errors.ts";

export interface GeneralizedAttentionOptions {
  /** d, the width of a query and a key. */
  readonly dim: number;
  /** The width of a value; default `dim`. */
  readonly valueDim?: number;
  /** K of a query `[dim]` and a key `[dim]`. */
  readonly kernel: (query: Float64Array, key: Float64Array) => number;
  /** g of a query `[dim]`. Default 1. */
  readonly queryFactor?: (query: Float64Array) => number;
  /** h of a key `[dim]`. Default 1. */
  readonly keyFactor?: (key: Float64Array) => number;
  /** `[keys]`, none negative; multiplies h: 0 hides a key, 1 shows it. Default: all shown. */
  readonly keyMask?: ArrayLike<number>;
  /** Query i sees the keys 0 to i + (keys - queries). Default false. */
  readonly causal?: boolean;
}

const names: OptionNames<GeneralizedAttentionOptions> = {
  dim: true,
  valueDim: true,
  kernel: true,
  queryFactor: true,
  keyFactor: true,
  keyMask: true,
  causal: true,
};

/**
 * Generalized attention of one head in float64, by its definition (2006.03555, section 2.2):
 *
 *     out = D^-1 A V,   A_ij = g(q_i) K(q_i, k_j) h(k_j),   D = diag(A 1)
 *
 * for any kernel K and any g and h. It evaluates the kernel for every pair, O(queries keys) times: a reference for
 * `favorAttention` with a feature map of K ({@link generalizedFeatureMap}, {@link withRowFactors}), which takes linear time.
 * Softmax is K(q, k) = exp(q.k). A query whose row of A sums to 0 gives 0. Hidden keys and values are never read.
 *
 * @param query `[queries, dim]`, times d^(-1/4) (README, Scale).
 * @param key `[keys, dim]`, times d^(-1/4).
 * @param value `[keys, valueDim]`.
 * @returns `[queries, valueDim]`.
 * @throws ArgumentError if shapes disagree, or `kernel` is not a function.
 */
export function generalizedAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: GeneralizedAttentionOptions,
): Float64Array {
  requireOptions("options", options, names, "{ dim: 64, kernel: (q, k) => ... }");
  const { kernel, queryFactor = () => 1, keyFactor = () => 1, keyMask, causal = false, ...sizes } = options;
  const shape = headShape(query, key, value, { ...sizes, causal, ...(keyMask && { keyMask }) });
  for (const [name, given] of Object.entries({ kernel, queryFactor, keyFactor })) {
    if (typeof given !== "function") throw new ArgumentError(`options.${name}`, "a function", given);
  }
  const { dim, valueDim, queries, keys } = shape;
  const out = new Float64Array(queries * valueDim);
  for (let i = 0; i < queries; i++) {
    const q = query.subarray(i * dim, (i + 1) * dim);
    const g = queryFactor(q);
    const row = out.subarray(i * valueDim, (i + 1) * valueDim);
    let normaliser = 0;
    for (let j = 0; j < (causal ? i + keys - queries + 1 : keys); j++) {
      const mask = keyMask?.[j] ?? 1;
      if (mask === 0) continue;
      const k = key.subarray(j * dim, (j + 1) * dim);
      const weight = g * kernel(q, k) * keyFactor(k) * mask;
      normaliser += weight;
      for (let c = 0; c < valueDim; c++) row[c]! += weight * value[j * valueDim + c]!;
    }
    if (normaliser === 0) row.fill(0);
    else for (let c = 0; c < valueDim; c++) row[c]! /= normaliser;
  }
  return out;
}
