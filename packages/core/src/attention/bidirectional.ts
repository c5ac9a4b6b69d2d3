import { requireInteger, requireLength, rowCount } from "../checks.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { alibiLinearAttention, requireSlope } from "./alibi.ts";
import { linearAttention } from "./linear.ts";

export interface FavorAttentionOptions {
  readonly featureMap: FeatureMap;
  /** The width of a value; default the feature map's `dim`. */
  readonly valueDim?: number;
  /**
   * `[keys]`; multiplies phi(K), in the numerator and the denominator: 0 hides a key, 1 shows it. Default: all shown.
   */
  readonly keyMask?: ArrayLike<number>;
  /**
   * The slope m of ALiBi (2108.12409), at least 0: the weight of key j is multiplied by exp(-m |i - j|). Needs as many
   * queries as keys. Default 0: none.
   */
  readonly slope?: number;
}

/**
 * Bidirectional FAVOR for one head in float64, the reference implementation (2006.03555, section 2.3):
 *
 *     out_i = phi_q(q_i)^T (sum_j m_j phi_k(k_j) v_j^T) / phi_q(q_i)^T (sum_j m_j phi_k(k_j))
 *
 * Takes O((queries + keys) M (dim + valueDim)) time. Hidden keys and values have no effect at all. A query whose
 * normaliser is 0, for example because every key is hidden, gives 0.
 *
 * @param query `[queries, dim]`, row-major, scaled by d^(-1/4).
 * @param key `[keys, dim]`, row-major, scaled by d^(-1/4).
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
  const { featureMap, keyMask, slope = 0 } = options;
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
  const shape = { heads: 1, queryRows, keyRows, count, valueDim };
  requireSlope("options.slope", slope);
  return slope === 0 ? linearAttention(input, shape) : alibiLinearAttention(input, shape, { slopes: [slope] });
}
