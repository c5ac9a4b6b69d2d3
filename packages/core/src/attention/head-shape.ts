import { requireInteger, requireLength, requireMask, requireObject, requirePositive, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireSlope } from "./alibi.ts";
import type { OptionNames } from "../options.ts";

export interface ExactAttentionOptions {
  /** d, the width of a query and a key. */
  readonly dim: number;
  /** The width of a value; default `dim`. */
  readonly valueDim?: number;
  /** Multiplies q.k. Default 1, the convention of the README (Scale). */
  readonly scale?: number;
  /** `[keys]`, none negative; multiplies exp(q.k): 0 hides a key, 1 shows it. Default: all shown. */
  readonly keyMask?: ArrayLike<number>;
  /** Query i sees the keys 0 to i + (keys - queries). Needs at least as many keys as queries. Default false. */
  readonly causal?: boolean;
  /**
   * The slope m of ALiBi (2108.12409), at least 0: the logits get -m times the distance between query and key, the last query
   * standing at the last key. Needs as many queries as keys unless `causal`. Default 0: none.
   */
  readonly slope?: number;
}

/** The names of {@link ExactAttentionOptions}. */
export const exactAttentionNames: OptionNames<ExactAttentionOptions> = {
  dim: true,
  valueDim: true,
  scale: true,
  keyMask: true,
  causal: true,
  slope: true,
};

/** Sizes of one head's attention in float64, read from its arrays. */
export interface HeadShape {
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly slope: number;
  readonly queries: number;
  readonly keys: number;
}

/**
 * Fills the defaults of exact attention and checks its arrays.
 *
 * @throws ArgumentError if shapes disagree, or the mask has a number that is negative or not finite.
 */
export function headShape(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: ExactAttentionOptions,
): HeadShape {
  requireObject("options", options, "{ dim: 64 }");
  const { dim, valueDim = dim, scale = 1, keyMask, causal = false, slope = 0 } = options;
  requireInteger("options.dim", dim, 1, 1 << 20);
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  requirePositive("options.scale", scale);
  const queries = rowCount("query", query, dim);
  const keys = rowCount("key", key, dim);
  requireLength("value", value, keys * valueDim);
  if (keyMask !== undefined) requireMask("options.keyMask", keyMask, keys);
  if (causal && keys < queries) throw new ArgumentError("key", `at least ${queries} rows in causal attention`, keys);
  requireSlope("options.slope", slope);
  if (slope > 0 && !causal && keys !== queries) throw new ArgumentError("key", `${queries} rows with a slope`, keys);
  return { dim, valueDim, scale, slope, queries, keys };
}
