import { alibiLinearAttention, requireSlope } from "./alibi.ts";
import type { CausalState } from "./causal-state.ts";
import { favorInput, favorNames } from "./favor-input.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FavorOptions } from "./favor-input.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface FavorAlibiOptions extends FavorOptions {
  /** The slope m of ALiBi (2108.12409), at least 0: the weight of key j is multiplied by exp(-m |i - j|). */
  readonly slope: number;
  /** Row i attends to the keys 0..i. Default false: to all keys. */
  readonly causal?: boolean;
  /**
   * Causal only: the past to continue from, made by `startFavor` and updated in place. Continue it with the slope that it was
   * begun with. Default: none.
   */
  readonly state?: CausalState;
}

const names: OptionNames<FavorAlibiOptions> = { ...favorNames, slope: true, causal: true, state: true };

/**
 * FAVOR with the bias of ALiBi, for one head in float64: `favorAttention`, or `favorCausalAttention`, in which keys fade with their
 * distance, computed by {@link alibiLinearAttention}. It is a separate function so that bundles of plain FAVOR stay small.
 *
 * @param query `[rows, dim]`, times d^(-1/4).
 * @param key `[rows, dim]`, times d^(-1/4).
 * @param value `[rows, valueDim]`.
 * @returns `[rows, valueDim]`.
 * @throws ArgumentError if shapes disagree, options have no feature map, the slope is negative or not finite, or there is a
 *   state without `causal`.
 */
export function favorAlibiAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorAlibiOptions,
): Float64Array {
  requireFeatureMap("options.featureMap", options?.featureMap);
  requireOptions("options", options, names);
  const { input, shape } = favorInput(query, key, value, options);
  const { slope, causal = false, state } = options;
  requireSlope("options.slope", slope);
  return alibiLinearAttention(input, shape, { slopes: [slope], causal, ...(state && { state }) });
}
