import { requireLength, rowCount } from "../checks.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { causalLinearAttention } from "./causal.ts";
import { startCausal } from "./causal-state.ts";
import type { CausalState } from "./causal-state.ts";
import { favorInput, favorNames } from "./favor-input.ts";
import type { FavorOptions } from "./favor-input.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface FavorCausalOptions extends FavorOptions {
  /** The past to continue from, made by {@link startFavor} and updated in place. Default: none. */
  readonly state?: CausalState;
}

const names: OptionNames<FavorCausalOptions> = { ...favorNames, state: true };

/**
 * Causal FAVOR for one head in float64 (2009.14794, section 2.5.1): `favorAttention` in which row i attends to the keys
 * 0..i, computed by {@link causalLinearAttention}. Each key is stabilised by itself, so no row depends on a later one,
 * bit for bit.
 *
 * This loses precision, and may even give 0, where query and key both exceed 350 / |w| (README, Guarantees and limits).
 *
 * With `state` it continues a sequence: one call for all rows and one call per token, each O(M d), give the same
 * outputs.
 *
 * @param query `[rows, dim]`, times d^(-1/4).
 * @param key `[rows, dim]`, times d^(-1/4).
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
  requireOptions("options", options, names);
  const { featureMap, state } = options;
  requireLength("key", key, rowCount("query", query, featureMap.dim) * featureMap.dim);
  const { input, shape } = favorInput(query, key, value, options);
  return causalLinearAttention(input, shape, state && { state });
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
