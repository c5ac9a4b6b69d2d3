import { requireInteger, requireLength, rowCount } from "../checks.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import type { LinearInput, LinearShape } from "./linear-shape.ts";
import type { OptionNames } from "../options.ts";

/** What every FAVOR attention of one head is given besides its arrays. */
export interface FavorOptions {
  readonly featureMap: FeatureMap;
  /** The width of a value; default the feature map's `dim`. */
  readonly valueDim?: number;
  /**
   * `[keys]`; multiplies phi(K), in the numerator and the denominator: 0 hides a key, 1 shows it. Default: all shown.
   */
  readonly keyMask?: ArrayLike<number>;
}

/** The names of {@link FavorOptions}. */
export const favorNames: OptionNames<FavorOptions> = { featureMap: true, valueDim: true, keyMask: true };

/**
 * The features of one head, each key stabilised by itself, so that no row depends on a later one.
 *
 * @param query `[queries, dim]`
 * @param key `[keys, dim]`
 * @param value `[keys, valueDim]`
 * @throws ArgumentError if shapes disagree, or options have no feature map.
 */
export function favorInput(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorOptions,
): { readonly input: LinearInput; readonly shape: LinearShape } {
  requireFeatureMap("options.featureMap", options?.featureMap);
  const { featureMap, keyMask } = options;
  const { dim, count } = featureMap;
  const { valueDim = dim } = options;
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  const queryRows = rowCount("query", query, dim);
  const keyRows = rowCount("key", key, dim);
  requireLength("value", value, keyRows * valueDim);
  if (keyMask !== undefined) requireLength("options.keyMask", keyMask, keyRows);
  const keys = featureMap.keyStabilized(key, { scope: "row", ...(keyMask && { mask: keyMask }) });
  const input = {
    query: featureMap.queryStabilized(query).features,
    key: keys.features,
    keyLogScale: keys.logScale,
    value,
    ...(keyMask && { keyMask }),
  };
  return { input, shape: { heads: 1, queryRows, keyRows, count, valueDim } };
}
