import { requireInteger } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { exactAttentionNames } from "../attention/head-shape.ts";
import type { ExactAttentionOptions } from "../attention/head-shape.ts";
import { attendSubset, subsetShape } from "./subset.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** The factorised patterns of the Sparse Transformer (1904.10509, section 4.3). */
export interface SparsePattern {
  /**
   * - `"strided"`: `local` is the row itself and the `stride` keys before it; `distant` is every `stride`-th key
   *   counted back from the row.
   * - `"fixed"`: `local` is the row's own block of `stride` keys; `distant` is the last `summary` keys of every block.
   */
  readonly kind: "strided" | "fixed";
  /** l, near sqrt(length) in the paper. */
  readonly stride: number;
  /** c, for `"fixed"`, at most `stride`. Default 1. */
  readonly summary?: number;
  /** The paper gives each head one part, or merges both into one head. Default `"both"`, the merged form. */
  readonly part?: "local" | "distant" | "both";
}

export interface SparseAttentionOptions extends ExactAttentionOptions {
  readonly pattern: SparsePattern;
}

const patternNames: OptionNames<SparsePattern> = { kind: true, stride: true, summary: true, part: true };

/**
 * The keys that query i attends to, each once, in no particular order. There are O(stride + keys / stride) of them, for
 * `"fixed"` with `summary` times the second term. Causal as in the paper (j <= i), or bidirectional: the same sets
 * without that condition, where `local` of `"strided"` becomes |i - j| <= stride.
 *
 * @throws ArgumentError for an unknown kind or part, or sizes that are not whole numbers in their range.
 */
export function sparseSubset(pattern: SparsePattern, i: number, keys: number, causal: boolean): number[] {
  requireOptions("pattern", pattern, patternNames, '{ kind: "strided", stride: 64 }');
  const { kind, stride, summary = 1, part = "both" } = pattern;
  requireInteger("pattern.stride", stride, 1, Number.MAX_SAFE_INTEGER);
  requireInteger("pattern.summary", summary, 1, stride);
  if (kind !== "strided" && kind !== "fixed") throw new ArgumentError("pattern.kind", '"strided" or "fixed"', kind);
  if (part !== "local" && part !== "distant" && part !== "both") {
    throw new ArgumentError("pattern.part", '"local", "distant" or "both"', part);
  }
  const end = causal ? Math.min(keys, i + 1) : keys;
  const block = Math.floor(i / stride) * stride;
  const [from, to] =
    kind === "strided"
      ? [Math.max(0, i - stride), Math.min(end, i + stride + 1)]
      : [block, Math.min(end, block + stride)];
  const local = range(from, to);
  if (part === "local") return local;
  const distant: number[] = [];
  if (kind === "strided") for (let j = i % stride; j < end; j += stride) distant.push(j);
  else
    for (let last = stride; last < end + summary; last += stride)
      distant.push(...range(last - summary, Math.min(last, end)));
  if (part === "distant") return distant;
  return [...local, ...distant.filter((j) => j < from || j >= to)];
}

function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from) }, (_, index) => from + index);
}

/**
 * Sparse attention of one head in float64: {@link exactAttention} over the {@link sparseSubset} of each row. O(L
 * sqrt(L) d) time with a stride near sqrt(L). A row whose keys are all hidden gives 0.
 *
 * @param query `[queries, dim]`.
 * @param key `[keys, dim]`.
 * @param value `[keys, valueDim]`.
 * @param options `causal` defaults to true here, for which the patterns were made; it needs as many keys as queries.
 * @returns `[queries, valueDim]`.
 * @throws ArgumentError if shapes disagree, or for an invalid pattern.
 */
export function sparseAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: SparseAttentionOptions,
): Float64Array {
  const example = '{ dim: 64, pattern: { kind: "strided", stride: 64 } }';
  requireOptions("options", options, { ...exactAttentionNames, pattern: true }, example);
  const { pattern, keyMask, causal = true } = options;
  const shape = subsetShape(query, key, value, { ...options, causal });
  const out = new Float64Array(shape.queries * shape.valueDim);
  for (let i = 0; i < shape.queries; i++) {
    attendSubset(query, key, value, i, sparseSubset(pattern, i, shape.keys, causal), keyMask, shape, out);
  }
  return out;
}
