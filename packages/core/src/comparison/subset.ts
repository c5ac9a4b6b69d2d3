import { requireInteger, requireLength, requirePositive, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";

/** Sizes of one head's attention over subsets, read from its arrays. */
export interface SubsetShape {
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly queries: number;
  readonly keys: number;
}

/**
 * Checks the arrays and options that the attentions of this folder share with `exactAttention`.
 * @throws ArgumentError for shapes that disagree.
 */
export function subsetShape(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: {
    readonly dim: number;
    readonly valueDim?: number;
    readonly scale?: number;
    readonly keyMask?: ArrayLike<number>;
    readonly causal?: boolean;
  },
): SubsetShape {
  const { dim, valueDim = dim, scale = 1, keyMask, causal = false } = options;
  requireInteger("options.dim", dim, 1, 1 << 20);
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  requirePositive("options.scale", scale);
  const queries = rowCount("query", query, dim);
  const keys = rowCount("key", key, dim);
  requireLength("value", value, keys * valueDim);
  if (keyMask !== undefined) requireLength("options.keyMask", keyMask, keys);
  if (causal && keys !== queries) throw new ArgumentError("key", `${queries} rows in causal attention`, keys);
  return { dim, valueDim, scale, queries, keys };
}

/**
 * out[i] = softmax over the keys j of `subset` (each once, in any order) of scale q_i.k_j, times the mask, times v_j.
 * Row i of out stays as it is if no key of the subset is shown. O(|subset| (dim + valueDim)).
 */
export function attendSubset(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  i: number,
  subset: readonly number[],
  keyMask: ArrayLike<number> | undefined,
  { dim, valueDim, scale }: SubsetShape,
  out: Float64Array,
): void {
  const shown = keyMask ? subset.filter((j) => keyMask[j] !== 0) : subset;
  if (shown.length === 0) return;
  const logits = shown.map((j) => {
    let product = 0;
    for (let l = 0; l < dim; l++) product += query[i * dim + l]! * key[j * dim + l]!;
    return scale * product;
  });
  const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  let normaliser = 0;
  for (const [index, j] of shown.entries()) {
    const weight = (keyMask?.[j] ?? 1) * Math.exp(logits[index]! - largest);
    normaliser += weight;
    for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! += weight * value[j * valueDim + c]!;
  }
  for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! /= normaliser;
}
