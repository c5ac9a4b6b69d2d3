import { requireSlope } from "../attention/alibi.ts";
import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { requireFinite, requireLength, requireObject, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";

/**
 * One head's queries `[rows, dim]` and keys `[rows, dim]` in one input sequence, both times d^(-1/4), unpadded. Float32
 * takes half the memory; all sums are in float64.
 */
export interface AttentionInput {
  readonly query: Float64Array | Float32Array;
  readonly key: Float64Array | Float32Array;
  /**
   * `[rows of query]`, ascending: where the queries stand among the keys, if only some of them are given. Exact keys need
   * whole blocks of queries, in causal attention also the block before each. Default: queries 0, 1, 2, ...
   */
  readonly positions?: Uint32Array;
}

/** The same numbers in float64; not a copy if they are. */
export function inFloat64(x: Float64Array | Float32Array): Float64Array {
  return x instanceof Float64Array ? x : Float64Array.from(x);
}

/** @throws ArgumentError unless `inputs` is an array of objects with a query and a key. */
export function requireInputs(inputs: readonly AttentionInput[]): void {
  if (!Array.isArray(inputs)) throw new ArgumentError("inputs", "an array of { query, key }, one per sequence", inputs);
  for (const [i, input] of inputs.entries()) requireObject(`inputs[${i}]`, input, "{ query, key }");
}

/**
 * @throws ArgumentError, naming the input, if its width is not `dim`, a value is not finite, or it has not as many keys
 * as queries in causal attention; also if all inputs are empty.
 */
export function checkInputs(inputs: readonly AttentionInput[], dim: number, causal = false, slope = 0): void {
  requireInputs(inputs);
  for (const [i, { query, key, positions }] of inputs.entries()) {
    const queries = rowCount(`inputs[${i}].query`, query, dim);
    const keys = rowCount(`inputs[${i}].key`, key, dim);
    if (positions !== undefined) {
      requireLength(`inputs[${i}].positions`, positions, queries);
      const wrong = positions.findIndex((at, row) => at >= keys || (row > 0 && at <= positions[row - 1]!));
      if (wrong >= 0) {
        throw new ArgumentError(
          `inputs[${i}].positions[${wrong}]`,
          `above the one before and below ${keys}`,
          positions[wrong],
        );
      }
    } else if ((causal || slope > 0) && queries !== keys) {
      const why = causal ? "causal attention" : "ALiBi";
      throw new ArgumentError(`inputs[${i}].key`, `as many keys as queries, ${queries}, for ${why}`, keys);
    }
    requireFinite(`inputs[${i}].query`, query);
    requireFinite(`inputs[${i}].key`, key);
  }
  if (!inputs.some(({ query, key }) => query.length > 0 && key.length > 0)) {
    throw new ArgumentError("inputs", "at least one input with queries and keys", `${inputs.length} empty ones`);
  }
}

/** @throws ArgumentError unless the slope is finite and not negative, and no keys are exact besides. */
export function checkSlope(slope: number, exactKeys: ExactKeysOptions | undefined): void {
  requireSlope("options.slope", slope);
  if (slope > 0 && exactKeys)
    throw new ArgumentError("options.exactKeys", "none with a slope: hybrid attention has no ALiBi", exactKeys);
}
