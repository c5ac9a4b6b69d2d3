import { requireLength, rowCount } from "../checks.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { alibiLinearAttention, requireSlope } from "./alibi.ts";
import { causalLinearAttention } from "./causal.ts";
import { startCausal } from "./causal-state.ts";
import type { CausalState } from "./causal-state.ts";

export interface FavorCausalOptions {
  readonly featureMap: FeatureMap;
  /** The width of a value; default the feature map's `dim`. */
  readonly valueDim?: number;
  /** `[rows]`; multiplies phi(K): 0 hides a key. Default: all shown. */
  readonly keyMask?: ArrayLike<number>;
  /**
   * The slope m of ALiBi (2108.12409), at least 0: the weight of key j is multiplied by exp(-m (i - j)). Default 0: none.
   * Continue a state with the slope that it was begun with.
   */
  readonly slope?: number;
  /** The past to continue from, made by {@link startFavor} and updated in place. Default: none. */
  readonly state?: CausalState;
}

/**
 * Causal FAVOR for one head in float64 (2009.14794, section 2.5.1): `favorAttention` in which row i attends to the keys
 * 0..i, computed by {@link causalLinearAttention}. Each key is stabilised by itself, so no row depends on a later one,
 * bit for bit.
 *
 * With `state` it continues a sequence: one call for all rows and one call per token, each O(M d), give the same
 * outputs.
 *
 * @param query `[rows, dim]`, scaled by d^(-1/4).
 * @param key `[rows, dim]`, scaled by d^(-1/4).
 * @param value `[rows, valueDim]`.
 * @returns `[rows, valueDim]`.
 * @throws ArgumentError if shapes disagree, or options have no feature map.
 */
export function favorCausalAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorCausalOptions,
): Float64Array {
  requireFeatureMap("options.featureMap", options?.featureMap);
  const { featureMap, keyMask, slope = 0, state } = options;
  const { dim, count } = featureMap;
  const { valueDim = dim } = options;
  const rows = rowCount("query", query, dim);
  requireLength("key", key, rows * dim);
  requireLength("value", value, rows * valueDim);
  if (keyMask !== undefined) requireLength("options.keyMask", keyMask, rows);
  const mask = keyMask && { keyMask };
  const keys = featureMap.keyStabilized(key, { scope: "row", ...(keyMask && { mask: keyMask }) });
  const { features } = featureMap.queryStabilized(query);
  const input = { query: features, key: keys.features, keyLogScale: keys.logScale, value, ...mask };
  const shape = { heads: 1, queryRows: rows, keyRows: rows, count, valueDim };
  requireSlope("options.slope", slope);
  if (slope === 0) return causalLinearAttention(input, shape, state && { state });
  return alibiLinearAttention(input, shape, { slopes: [slope], causal: true, ...(state && { state }) });
}

/**
 * The state of one head before its first token, for {@link favorCausalAttention}.
 *
 * @param valueDim Width of a value. Default: the feature map's `dim`.
 * @throws ArgumentError if `featureMap` is not a feature map, or `valueDim` is not a whole number of at least 1.
 */
export function startFavor(featureMap: FeatureMap, valueDim?: number): CausalState {
  requireFeatureMap("featureMap", featureMap);
  return startCausal({ keyHeads: 1, count: featureMap.count, valueDim: valueDim ?? featureMap.dim });
}
