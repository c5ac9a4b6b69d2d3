import { requireInteger } from "../../checks.ts";
import { multiplyTransposed } from "../../linear-algebra/products.ts";

/** What a {@link BlockSelector} sees: one block of queries, and the blocks of keys that they may look at. */
export interface SelectorInput {
  readonly dim: number;
  /** The width of a block of keys; the last one may be shorter. */
  readonly width: number;
  /** `[rows, dim]`, scaled like the keys. */
  readonly query: Float64Array;
  /** `[rows]`; 0 leaves a query out. Default: all count. */
  readonly queryMask?: ArrayLike<number> | undefined;
  /** `[keys, dim]`; q.k is the logit. */
  readonly key: Float64Array;
  /** `[keys]`: the log of what multiplies exp(q.k); -Infinity hides a key, whose contents must then not be read. */
  readonly logMask: Float64Array;
}

/**
 * Says how much each block of keys matters to a block of queries. The blocks with the largest scores are chosen. A
 * selector must not depend on the order of keys within a block, nor on a block's place.
 */
export interface BlockSelector {
  /**
   * One score for each block of keys, `[ceil(keys / width)]`; finite, or -Infinity (or NaN) for a block that must not be
   * chosen.
   */
  scores(input: SelectorInput): Float64Array;
  /** The group size, if the selector is {@link averagedQueries}: float32 attention then computes it in its kernels. */
  readonly averaged?: number;
}

/**
 * Averages every `group` consecutive queries and compares the means with every key:
 *
 *     score_B = sum_g softmax_B(log sum_{j in B} m_j exp(mean_g . k_j))
 *
 * Groups are counted from the first row of the block of queries. Queries that the mask leaves out have no part in a
 * mean, and a group of such queries alone has no part in the sum, which is 0 without any
 * other: the first blocks are then chosen. It costs L / group dot products per key.
 *
 * @param group How many queries are averaged. Default 16.
 * @throws ArgumentError unless `group` is a whole number of at least 1.
 */
export function averagedQueries(group = 16): BlockSelector {
  requireInteger("group", group, 1, 1 << 20);
  return {
    averaged: group,
    scores({ dim, width, query, queryMask, key, logMask }) {
      const blocks = Math.ceil(logMask.length / width);
      const scores = new Float64Array(blocks);
      const rows = query.length / dim;
      const keys = logMask.length;
      for (let start = 0; start < rows; start += group) {
        const mean = meanRow(query, dim, start, Math.min(rows, start + group), queryMask);
        if (mean) addSoftmax(blockLogMasses(multiplyTransposed(key, mean, keys, dim, 1), logMask, width), scores);
      }
      return hideEmpty(scores, logMask, width);
    },
  };
}

/** The mean of the rows from..to of x `[rows, dim]` that the mask keeps; undefined if it keeps none. */
function meanRow(
  x: Float64Array,
  dim: number,
  from: number,
  to: number,
  mask: ArrayLike<number> | undefined,
): Float64Array | undefined {
  const mean = new Float64Array(dim);
  let rows = 0;
  for (let row = from; row < to; row++) {
    if (mask && mask[row] === 0) continue;
    rows++;
    for (let l = 0; l < dim; l++) mean[l]! += x[row * dim + l]!;
  }
  return rows === 0 ? undefined : mean.map((sum) => sum / rows);
}

/** log sum_{j in B} m_j exp(logit_j) of each block; -Infinity for one without visible keys. Overwrites the logits. */
function blockLogMasses(logits: Float64Array, logMask: Float64Array, width: number): Float64Array {
  for (let j = 0; j < logits.length; j++) logits[j] = logMask[j] === -Infinity ? -Infinity : logits[j]! + logMask[j]!;
  return Float64Array.from({ length: Math.ceil(logits.length / width) }, (_, block) =>
    logSumExp(logits.subarray(block * width, (block + 1) * width)),
  );
}

/** log sum exp; -Infinity for no terms. */
function logSumExp(logs: Float64Array): number {
  let largest = -Infinity;
  for (const log of logs) largest = Math.max(largest, log);
  if (largest === -Infinity) return largest;
  let sum = 0;
  for (const log of logs) sum += Math.exp(log - largest);
  return largest + Math.log(sum);
}

/** scores += softmax(logs); nothing if all are -Infinity. */
export function addSoftmax(logs: Float64Array, scores: Float64Array): void {
  const total = logSumExp(logs);
  if (total === -Infinity) return;
  for (let i = 0; i < logs.length; i++) scores[i]! += Math.exp(logs[i]! - total);
}

/** -Infinity for the blocks without a visible key. */
function hideEmpty(scores: Float64Array, logMask: Float64Array, width: number): Float64Array {
  return scores.map((score, block) => {
    const visible = logMask.subarray(block * width, (block + 1) * width).some((log) => log > -Infinity);
    return visible ? score : -Infinity;
  });
}

/**
 * The `count` blocks of the largest scores, in ascending order; fewer if there are not as many with a score above
 * -Infinity. Of equal scores the earlier block is chosen. Blocks for which `excluded` is true are never chosen.
 */
export function largestBlocks(
  scores: ArrayLike<number>,
  count: number,
  excluded: (block: number) => boolean,
): Int32Array {
  const candidates: number[] = [];
  for (let block = 0; block < scores.length; block++) {
    if (scores[block]! > -Infinity && !excluded(block)) candidates.push(block);
  }
  candidates.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return Int32Array.from(candidates.slice(0, count)).toSorted();
}
