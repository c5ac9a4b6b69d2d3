import { requireInteger, requireLength, rowCount } from "../checks.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { exponentialPerRow } from "../features/stabilizer.ts";
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
 * The features of one head, each key stabilised by itself, so that no row depends on a later one. With `together`, each
 * feature is stabilised by its own largest key instead, if the map has logs: then nothing underflows that counts.
 *
 * @param query `[queries, dim]`
 * @param key `[keys, dim]`
 * @param value `[keys, valueDim]`
 * @throws ArgumentError if shapes disagree.
 */
export function favorInput(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorOptions,
  together = false,
): { readonly input: LinearInput; readonly shape: LinearShape } {
  const { featureMap, keyMask } = options;
  const { dim, count } = featureMap;
  const { valueDim = dim } = options;
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  const queryRows = rowCount("query", query, dim);
  const keyRows = rowCount("key", key, dim);
  requireLength("value", value, keyRows * valueDim);
  if (keyMask !== undefined) requireLength("options.keyMask", keyMask, keyRows);
  const shape = { heads: 1, queryRows, keyRows, count, valueDim };
  const rest = { value, ...(keyMask && { keyMask }) };
  const { logs } = featureMap;
  if (together && logs) {
    return { input: { ...relativeToKeys(logs.query(query), logs.key(key), count, keyMask), ...rest }, shape };
  }
  const keys = featureMap.keyStabilized(key, { scope: "row", ...(keyMask && { mask: keyMask }) });
  const { features } = featureMap.queryStabilized(query);
  return { input: { query: features, key: keys.features, keyLogScale: keys.logScale, ...rest }, shape };
}

/** Exponentials of log features, each key feature relative to the largest shown key, which goes to the queries. */
function relativeToKeys(
  query: Float64Array,
  key: Float64Array,
  count: number,
  keyMask: ArrayLike<number> | undefined,
): Pick<LinearInput, "query" | "key"> {
  const largest = new Float64Array(count).fill(-Number.MAX_VALUE);
  for (const [i, log] of key.entries()) {
    if (keyMask?.[Math.floor(i / count)] !== 0 && log > largest[i % count]!) largest[i % count] = log;
  }
  return {
    query: exponentialPerRow(
      query.map((log, i) => log + largest[i % count]!),
      query.length / count,
      count,
    ).features,
    key: key.map((log, i) => Math.exp(log - largest[i % count]!)),
  };
}
