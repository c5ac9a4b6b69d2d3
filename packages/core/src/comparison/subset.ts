import { headShape } from "../attention/head-shape.ts";
import type { ExactAttentionOptions, HeadShape } from "../attention/head-shape.ts";
import { ArgumentError } from "../errors.ts";

/**
 * {@link headShape} for the attentions of this folder, whose causal form needs as many keys as queries.
 *
 * @throws ArgumentError if shapes disagree, or there is a slope.
 */
export function subsetShape(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: ExactAttentionOptions,
): HeadShape {
  const shape = headShape(query, key, value, options);
  const { queries, keys } = shape;
  if (shape.slope > 0) throw new ArgumentError("options.slope", "0: these attentions have no ALiBi", shape.slope);
  if (options.causal === true && keys !== queries) {
    throw new ArgumentError("key", `${queries} rows in causal attention`, keys);
  }
  return shape;
}

/**
 * out[i] = the sum over the keys j of `subset` (each once, in any order) of softmax(scale q_i.k_j) times the mask times
 * v_j. Leaves row i as it is if no key of the subset is shown. O(|subset| (dim + valueDim)).
 */
export function attendSubset(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  i: number,
  subset: readonly number[],
  keyMask: ArrayLike<number> | undefined,
  { dim, valueDim, scale }: HeadShape,
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
