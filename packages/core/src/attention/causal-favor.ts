import { requireLength, rowCount } from "../checks.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { causalLinearAttention } from "./causal.ts";
import { startCausal } from "./causal-state.ts";
import type { CausalState } from "./causal-state.ts";

export interface FavorCausalOptions {
  readonly featureMap: FeatureMap;
  /** The width of a value; default the feature map's `dim`. */
  readonly valueDim?: number;
  /** `[rows]`; multiplies phi(K): 0 hides a key. Default: all shown. */
  readonly keyMask?: ArrayLike<number>;
  /** The past to continue from, from {@link startFavor}; brought up to date. Default: none. */
  readonly state?: CausalState;
}

/**
 * Causal FAVOR of one head in float64 (2009.14794, section 2.5.1): `favorAttention` where row i attends to the keys
 * 0..i, by {@link causalLinearAttention}. query and key `[rows, dim]`, both times d^(-1/4), value `[rows, valueDim]`,
 * result `[rows, valueDim]`. Each key is stabilised by itself: no row depends on a later one, to the bit.
 *
 * With `state` it continues a sequence: one call with all rows, or one call per token in O(M d), give the same outputs.
 *
 * @throws ArgumentError for shapes that disagree, and options without a feature map.
 */
export function favorCausalAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorCausalOptions,
): Float64Array {
  requireFeatureMap("options.featureMap", options?.featureMap);
  const { featureMap, keyMask, state } = options;
  const { dim, count } = featureMap;
  const { valueDim = dim } = options;
  const rows = rowCount("query", query, dim);
  requireLength("key", key, rows * dim);
  requireLength("value", value, rows * valueDim);
  if (keyMask !== undefined) requireLength("options.keyMask", keyMask, rows);
  const mask = keyMask && { keyMask };
  const keys = featureMap.keyStabilized(key, { scope: "row", ...(keyMask && { mask: keyMask }) });
  const { features } = featureMap.queryStabilized(query);
  return causalLinearAttention(
    { query: features, key: keys.features, keyLogScale: keys.logScale, value, ...mask },
    { heads: 1, queryRows: rows, keyRows: rows, count, valueDim },
    state && { state },
  );
}

/**
 * The state of one head before the first token, for {@link favorCausalAttention}. `valueDim` defaults to `dim`.
 * @throws ArgumentError for what is no feature map, or a `valueDim` that is no whole number of at least 1.
 */
export function startFavor(featureMap: FeatureMap, valueDim?: number): CausalState {
  requireFeatureMap("featureMap", featureMap);
  return startCausal({ keyHeads: 1, count: featureMap.count, valueDim: valueDim ?? featureMap.dim });
}
