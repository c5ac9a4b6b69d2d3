import { requireLayout, requireMask, requireSize } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/**
 * The sizes of linear attention over features. Arrays are row-major with the last index fastest:
 * query features `[heads, queryRows, count]`, key features `[keyHeads, keyRows, count]`, values
 * `[keyHeads, keyRows, valueDim]`, output `[heads, queryRows, valueDim]`. Cross-attention has
 * `queryRows !== keyRows`.
 */
export interface LinearShape {
  readonly heads: number;
  /** Grouped queries: query head h reads key head floor(h * keyHeads / heads). Must divide `heads`. Default `heads`. */
  readonly keyHeads?: number;
  readonly queryRows: number;
  readonly keyRows: number;
  /** M, the width of phi. */
  readonly count: number;
  readonly valueDim: number;
}

/** Features of queries and keys, and the values: what linear attention works on, for any feature map. */
export interface LinearInput {
  /** phi(Q), `[heads, queryRows, count]`. A positive factor per row cancels in the normaliser. */
  readonly query: Float64Array;
  /** phi(K) `[keyHeads, keyRows, count]`, or a scaled phi(K): see `keyLogScale`. */
  readonly key: Float64Array;
  /** `[keyHeads, keyRows, valueDim]`. */
  readonly value: Float64Array;
  /**
   * `[keyHeads, keyRows]`: the true features of key j are `exp(keyLogScale[j]) * key[j]`. Scaling each row by its own
   * maximum avoids over- and underflow without looking at other keys. Default 0.
   */
  readonly keyLogScale?: Float64Array;
  /**
   * `[keyRows]`, shared by the heads; multiplies phi(K), in the numerator and the denominator. 0 hides a key. Default:
   * all 1.
   */
  readonly keyMask?: ArrayLike<number>;
}

const shapeNames: OptionNames<LinearShape> = {
  heads: true,
  keyHeads: true,
  queryRows: true,
  keyRows: true,
  count: true,
  valueDim: true,
};
const inputNames: OptionNames<LinearInput> = { query: true, key: true, value: true, keyLogScale: true, keyMask: true };

/** {@link LinearShape} with its defaults, and how many query heads share a key head. */
export interface ResolvedShape extends Required<LinearShape> {
  readonly group: number;
}

/**
 * Fills the defaults of a shape and checks it.
 *
 * @throws ArgumentError if a size is not a whole number, or `keyHeads` does not divide `heads`.
 */
export function resolveShape(shape: LinearShape): ResolvedShape {
  requireOptions("shape", shape, shapeNames, "{ heads, queryRows, keyRows, count, valueDim }");
  const { heads, keyHeads = heads, queryRows, keyRows, count, valueDim } = shape;
  const sizes = { heads, keyHeads, count, valueDim };
  for (const [name, size] of Object.entries(sizes)) requireSize(`shape.${name}`, size, 1);
  requireSize("shape.queryRows", queryRows, 0);
  requireSize("shape.keyRows", keyRows, 0);
  if (heads % keyHeads !== 0) throw new ArgumentError("shape.keyHeads", `a divisor of heads (${heads})`, keyHeads);
  return { ...sizes, queryRows, keyRows, group: heads / keyHeads };
}

/**
 * Checks every array of an input against the shape.
 * @throws ArgumentError naming the array, its layout, and the length found.
 */
export function checkLinearInput(input: LinearInput, shape: ResolvedShape): void {
  const { heads, keyHeads, queryRows, keyRows, count, valueDim } = shape;
  requireOptions("input", input, inputNames, "{ query, key, value }");
  requireLayout("query", input.query, "[heads, queryRows, count]", heads * queryRows * count);
  requireLayout("key", input.key, "[keyHeads, keyRows, count]", keyHeads * keyRows * count);
  requireLayout("value", input.value, "[keyHeads, keyRows, valueDim]", keyHeads * keyRows * valueDim);
  if (input.keyLogScale) requireLayout("keyLogScale", input.keyLogScale, "[keyHeads, keyRows]", keyHeads * keyRows);
  if (input.keyMask) requireMask("keyMask", input.keyMask, keyRows);
}

/**
 * `[keyHeads, keyRows]`: log(mask) plus the log scale of every key, -Infinity for a hidden one. With it phi(K) has one
 * form everywhere, `exp(weight[j]) * key[j]`.
 *
 * @throws ArgumentError if a scale is +Infinity.
 */
export function keyLogWeights(input: LinearInput, shape: ResolvedShape): Float64Array {
  const { keyHeads, keyRows } = shape;
  const weights = input.keyLogScale?.slice() ?? new Float64Array(keyHeads * keyRows);
  for (let row = 0; row < keyRows; row++) {
    const mask = input.keyMask?.[row] ?? 1;
    if (mask === 1) continue;
    const log = Math.log(mask);
    for (let head = 0; head < keyHeads; head++) weights[head * keyRows + row]! += log;
  }
  const infinite = weights.indexOf(Infinity);
  if (infinite >= 0) throw new ArgumentError(`keyLogScale[${infinite}]`, "less than Infinity", Infinity);
  return weights;
}
