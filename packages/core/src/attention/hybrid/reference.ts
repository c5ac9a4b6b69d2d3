import { requireInteger, requireLength, requireMask, rowCount } from "../../checks.ts";
import { ArgumentError } from "../../errors.ts";
import { exponentialForm } from "../../features/create.ts";
import { requireFeatureMap } from "../../features/feature-map.ts";
import type { FeatureMap } from "../../features/feature-map.ts";
import { blockLogMask, chooseBlocks, exactKeyNames, nearBlocks, resolveExactKeys } from "./exact-keys.ts";
import type { ExactKeys, ExactKeysOptions } from "./exact-keys.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

export interface HybridAttentionOptions extends ExactKeysOptions {
  /** d, the width of a query and a key. */
  readonly dim: number;
  /** The width of a value; default `dim`. */
  readonly valueDim?: number;
  /**
   * Estimates the far field, the keys that are not exact. It must estimate exp(q.k) without negative weights, so it has
   * an exponential form. Default: the far field is dropped.
   */
  readonly featureMap?: FeatureMap;
  /** `[keys]`, none negative; multiplies the weight of a key, exact or estimated. 0 hides it. Default: all shown. */
  readonly keyMask?: ArrayLike<number>;
  /** Query i sees the keys 0 to i. Default false. */
  readonly causal?: boolean;
}

const names: OptionNames<HybridAttentionOptions> = {
  ...exactKeyNames,
  dim: true,
  valueDim: true,
  featureMap: true,
  keyMask: true,
  causal: true,
};

/**
 * Attention that is exact for some keys of each query and estimated by features for all others, for one head in float64:
 * the definition. Every key counts once, in one numerator and one normaliser,
 *
 *     out_i = sum_j w_ij v_j / sum_j w_ij
 *     w_ij = m_j exp(q_i.k_j)            if j is exact for i ({@link ExactKeysOptions})
 *     w_ij = m_j phi_q(q_i).phi_k(k_j)   otherwise, with the whole estimate of exp(q.k): what depends on the query
 *                                        alone does not cancel here
 *
 * Exact for query i are the first key, the keys of its own block and the two blocks around it, and the blocks that are
 * chosen for its block of queries. In causal attention a query sees none after its own position, and the choice for a
 * block is made by the queries of the block before it: it depends on the past only, and is made once, where the block
 * begins. A query that sees no key gives 0. Hidden keys and values are never read.
 *
 * If every key is exact, this is `exactAttention`; with `window` 0 it is `favorAttention`. It writes weights out, and so
 * takes O(queries keys (M + d)) time; `hybridAttention32` takes time in proportion to the length, but for the selector.
 *
 * @param query `[queries, dim]`, times d^(-1/4).
 * @param key `[keys, dim]`, times d^(-1/4).
 * @param value `[keys, valueDim]`.
 * @returns `[queries, valueDim]`.
 * @throws ArgumentError if shapes disagree, the feature map has no exponential form or another width, there is neither
 * an exact key nor a feature map, or a near field or causal attention has not as many keys as queries.
 */
export function hybridAttention(
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
  options: HybridAttentionOptions,
): Float64Array {
  requireOptions("options", options, names, "{ dim: 64, window: 32, chosenBlocks: 8 }");
  const { dim, valueDim = dim, featureMap, keyMask, causal = false } = options;
  requireInteger("options.dim", dim, 1, 1 << 20);
  requireInteger("options.valueDim", valueDim, 1, 1 << 20);
  const queries = rowCount("query", query, dim);
  const keys = rowCount("key", key, dim);
  requireLength("value", value, keys * valueDim);
  if (keyMask !== undefined) requireMask("options.keyMask", keyMask, keys);
  const exact = resolveExactKeys(options, { queries, keys }, keyMask, causal);
  checkFarField(featureMap, dim, exact);

  const chosen = chooseBlocks(query, key, dim, exact, blockLogMask(keys, keyMask, exact.first));
  const far = featureMap && logEstimates(query, key, featureMap, keyMask);
  const out = new Float64Array(queries * valueDim);
  const logWeights = new Float64Array(keys);
  for (let i = 0; i < queries; i++) {
    const seen = causal ? i + 1 : keys;
    const block = exact.window === 0 ? 0 : Math.floor(i / exact.window);
    for (let j = 0; j < seen; j++) {
      if (keyMask?.[j] === 0) logWeights[j] = -Infinity;
      else if (isExact(exact, chosen[block], block, j)) {
        logWeights[j] = Math.log(keyMask?.[j] ?? 1) + dot(query, i, key, j, dim);
      } else logWeights[j] = far ? Math.log(keyMask?.[j] ?? 1) + far(i, j) : -Infinity;
    }
    average(logWeights.subarray(0, seen), value, out.subarray(i * valueDim, (i + 1) * valueDim));
  }
  return out;
}

/** Whether key j is exact for the queries of a block that see it. */
function isExact(exact: ExactKeys, chosen: Int32Array | undefined, block: number, j: number): boolean {
  if (exact.window === 0) return false;
  const near = nearBlocks(exact, block);
  const keyBlock = Math.floor(j / exact.window);
  return j === exact.first || (keyBlock >= near.from && keyBlock < near.to) || chosen?.includes(keyBlock) === true;
}

/** @throws ArgumentError if the feature map cannot estimate the far field, or there is nothing to attend to. */
function checkFarField(featureMap: FeatureMap | undefined, dim: number, exact: ExactKeys): void {
  if (featureMap === undefined) {
    if (exact.near || exact.chosenBlocks > 0) return;
    throw new ArgumentError("options.featureMap", "a feature map, because no key is exact", featureMap);
  }
  requireFeatureMap("options.featureMap", featureMap);
  if (featureMap.dim !== dim) throw new ArgumentError("options.featureMap.dim", `dim (${dim})`, featureMap.dim);
  exponentialForm(featureMap.description);
  if (featureMap.hasRowFactors) {
    throw new ArgumentError("options.featureMap", "one without row factors, as the softmax of exact keys", "factors");
  }
}

/** log(phi_q(q_i).phi_k(k_j)), without over- or underflow of a feature. */
function logEstimates(
  query: Float64Array,
  key: Float64Array,
  featureMap: FeatureMap,
  keyMask: ArrayLike<number> | undefined,
): (i: number, j: number) => number {
  const { count, logs } = featureMap;
  if (logs) {
    const [q, k] = [logs.query(query), logs.key(key)];
    return (i, j) => logSumExp(q.subarray(i * count, (i + 1) * count).map((log, m) => log + k[j * count + m]!));
  }
  const queries = featureMap.queryStabilized(query);
  const keys = featureMap.keyStabilized(key, { scope: "row", ...(keyMask && { mask: keyMask }) });
  return (i, j) =>
    Math.log(dot(queries.features, i, keys.features, j, count)) + queries.logScale[i]! + keys.logScale[j]!;
}

function logSumExp(logs: Float64Array): number {
  const largest = logs.reduce((a, b) => Math.max(a, b));
  return largest === -Infinity
    ? largest
    : largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0));
}

function dot(a: Float64Array, i: number, b: Float64Array, j: number, width: number): number {
  let sum = 0;
  for (let l = 0; l < width; l++) sum += a[i * width + l]! * b[j * width + l]!;
  return sum;
}

/** out = sum_j exp(logWeight_j) v_j / sum_j exp(logWeight_j), one row; it stays 0 if all weights are. */
function average(logWeights: Float64Array, value: Float64Array, out: Float64Array): void {
  let largest = -Infinity;
  for (const log of logWeights) largest = Math.max(largest, log);
  if (largest === -Infinity) return;
  let normaliser = 0;
  for (const [j, log] of logWeights.entries()) {
    const weight = Math.exp(log - largest);
    if (weight === 0) continue; // hidden: its value may be anything
    normaliser += weight;
    for (let c = 0; c < out.length; c++) out[c]! += weight * value[j * out.length + c]!;
  }
  for (let c = 0; c < out.length; c++) out[c]! /= normaliser;
}
