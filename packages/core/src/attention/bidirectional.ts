import { favorInput, favorNames } from "./favor-input.ts";
import type { FavorOptions } from "./favor-input.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import { linearAttention } from "./linear.ts";
import { requireOptions } from "../options.ts";

export type FavorAttentionOptions = FavorOptions;

const elsewhere = { causal: " Use favorCausalAttention.", slope: " Use favorAlibiAttention." };

/**
 * Bidirectional FAVOR for one head in float64, the reference implementation (2006.03555, section 2.3):
 *
 *     out_i = phi_q(q_i)^T (sum_j m_j phi_k(k_j) v_j^T) / phi_q(q_i)^T (sum_j m_j phi_k(k_j))
 *
 * Takes O((queries + keys) M (dim + valueDim)) time. Hidden keys and values have no effect at all. A query whose
 * normaliser is 0, for example because every key is hidden, gives 0. Exponential maps without a core do not underflow at any norm
 * up to 1e150; for others, see README (Guarantees and limits).
 *
 * @param query `[queries, dim]`, row-major, times d^(-1/4).
 * @param key `[keys, dim]`, row-major, times d^(-1/4).
 * @param value `[keys, valueDim]`, row-major.
 * @returns `[queries, valueDim]`, row-major.
 * @throws ArgumentError if shapes disagree, or options have no feature map.
 */
export function favorAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: FavorAttentionOptions,
): Float64Array {
  requireFeatureMap("options.featureMap", options?.featureMap);
  requireOptions("options", options, favorNames, "{ featureMap }", elsewhere);
  const { input, shape } = favorInput(query, key, value, options, true);
  return linearAttention(input, shape);
}
