import { requireInteger, requireLength, requireMask, requirePositive, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import type { ExactAttentionOptions } from "./exact.ts";

/** Sizes of one head's attention in float64, read from its arrays. */
export interface HeadShape {
  readonly dim: number;
  readonly valueDim: number;
  readonly scale: number;
  readonly queries: number;
  readonly keys: number;
}

/**
 * Fills the defaults of exact attention and checks its arrays.
 * @throws ArgumentError for shapes that disagree, or a mask with a number that is negative or not finite.
 */
export function headShape(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  { dim, valueDim = dim, scale = 1, keyMask, causal = false }: ExactAttentionOptions,
): HeadShape {
  requireInteger("options.dim", dim, 1, 1 << 20);
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  requirePositive("options.scale", scale);
  const queries = rowCount("query", query, dim);
  const keys = rowCount("key", key, dim);
  requireLength("value", value, keys * valueDim);
  if (keyMask !== undefined) requireMask("options.keyMask", keyMask, keys);
  if (causal && keys < queries) throw new ArgumentError("key", `at least ${queries} rows in causal attention`, keys);
  return { dim, valueDim, scale, queries, keys };
}
