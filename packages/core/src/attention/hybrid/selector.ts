import { requireFinite, requireInteger, requireObject, rowCount } from "../../checks.ts";
import { ArgumentError } from "../../errors.ts";
import { multiplyTransposed } from "../../linear-algebra/products.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

/** The keys that a {@link BlockSelector} chooses among. */
export interface SelectorKeys {
  readonly dim: number;
  /** The width of a block of keys; the last one may be shorter. */
  readonly width: number;
  /** `[keys, dim]`. */
  readonly key: Float64Array;
  /** `[keys]`: the log of what multiplies exp(q.k); -Infinity hides a key, whose contents must then not be read. */
  readonly logMask: Float64Array;
}

/** A block of queries, and among which blocks of keys it chooses. */
export interface SelectorQueries {
  /** `[rows, dim]`; q.k is the logit. */
  readonly query: Float64Array;
  /** `[rows]`; 0 leaves a query out. Default: all count. */
  readonly queryMask?: ArrayLike<number> | undefined;
  /** The first so many blocks; in causal attention all of them are past, and no later one may be looked at. */
  readonly keyBlocks: number;
}

/**
 * Says how much each block of keys matters to a block of queries. The blocks with the largest scores are chosen. A
 * selector must not depend on the order of keys within a block, nor on a block's place.
 */
export interface BlockSelector {
  /**
   * Prepares for the keys of a head, and returns a function that gives one score for each block of keys, `[keyBlocks]`:
   * finite, or -Infinity (or NaN) for a block that must not be chosen, such as one without a visible key.
   */
  prepare(keys: SelectorKeys): (queries: SelectorQueries) => Float64Array;
  /** If the selector is {@link averagedQueries}: float32 attention then computes it in its kernels. */
  readonly averaged?: { readonly group: number; readonly candidates?: BlockCandidates | undefined };
}

/** A cheap selector whose best blocks a dearer one chooses among. */
export interface BlockCandidates {
  readonly selector: BlockSelector;
  /** How many blocks remain. */
  readonly count: number;
}

export interface AveragedQueriesOptions {
  /** How many queries are averaged. Default 16. */
  readonly group?: number;
  /** How many consecutive keys of a block are averaged; they are counted from its first row. Default 1. */
  readonly keyGroup?: number;
  /**
   * Looks only at the best blocks by another selector, near ones included, as if there were no others. The cost is then
   * in proportion to the length. Default: looks at all.
   */
  readonly candidates?: BlockCandidates;
}

const averagedNames: OptionNames<AveragedQueriesOptions> = { group: true, keyGroup: true, candidates: true };
const candidateNames: OptionNames<BlockCandidates> = { selector: true, count: true };

/**
 * Averages every `group` consecutive queries and compares the means with every key:
 *
 *     score_B = sum_g softmax_B(log sum_{j in B} m_j exp(mean_g . k_j))
 *
 * which is also the softmax over all keys, summed within blocks. Groups are counted from the first row of the block of
 * queries. Queries that the mask leaves out have no part in a mean, and a group of such queries alone has none in the
 * sum. Without any group all scores are 0, and the first blocks are chosen. It costs L / group dot products per key.
 *
 * Keys that are averaged count as one key, their mean weighted with the mask, with the sum of their masks; this divides the
 * cost by `keyGroup`, and makes the order of keys within a block matter.
 *
 * With candidates it compares with the keys of these blocks only: on a model of code at 4,096 tokens, means of 4 queries
 * among 32 of 128 blocks choose as well as means of 4 among all, at the price of means of 16.
 *
 * @throws ArgumentError unless `group`, `keyGroup` and the number of candidates are whole numbers of at least 1.
 */
export function averagedQueries(options: AveragedQueriesOptions = {}): BlockSelector {
  requireOptions("options", options, averagedNames);
  const { group = 16, keyGroup = 1, candidates } = options;
  requireInteger("options.group", group, 1, 1 << 20);
  requireInteger("options.keyGroup", keyGroup, 1, 1 << 20);
  if (candidates) {
    requireOptions("options.candidates", candidates, candidateNames);
    requireObject("options.candidates.selector", candidates.selector, "keyDeviations({ directions })");
    requireInteger("options.candidates.count", candidates.count, 1, 1 << 30);
  }
  return {
    ...(keyGroup === 1 && { averaged: { group, candidates } }),
    prepare(keys) {
      const { dim, width, key, logMask } = keyGroup === 1 ? keys : averagedKeys(keys, keyGroup);
      const candidateScores = candidates?.selector.prepare(keys);
      return (queries) => {
        const count = Math.min(logMask.length, queries.keyBlocks * width);
        const shown = logMask.slice(0, count);
        if (candidates && candidateScores) {
          hideOthers(
            shown,
            largestBlocks(candidateScores(queries), candidates.count, () => false),
            width,
          );
        }
        const scores = sumOfGroups(queries, dim, group, (means, groups) => {
          const logits = multiplyTransposed(means, key.subarray(0, count * dim), groups, dim, count);
          return Array.from({ length: groups }, (_, at) =>
            blockLogMasses(logits.subarray(at * count, (at + 1) * count), shown, width),
          );
        });
        return hideEmpty(scores, shown, width);
      };
    },
  };
}

/** Keys averaged in groups of `size` within each block, as keys of narrower blocks. */
function averagedKeys({ dim, width, key, logMask }: SelectorKeys, size: number): SelectorKeys {
  const perBlock = Math.ceil(width / size);
  const blocks = Math.ceil(logMask.length / width);
  const inLast = Math.ceil((logMask.length - (blocks - 1) * width) / size);
  const count = blocks === 0 ? 0 : (blocks - 1) * perBlock + inLast;
  const means = new Float64Array(count * dim);
  const logMasses = new Float64Array(count);
  for (let mean = 0; mean < count; mean++) {
    const block = Math.floor(mean / perBlock);
    const from = block * width + (mean % perBlock) * size;
    const to = Math.min(from + size, (block + 1) * width, logMask.length);
    const logMass = logSumExp(logMask.subarray(from, to));
    logMasses[mean] = logMass;
    for (let j = from; j < to; j++) {
      if (logMask[j] === -Infinity) continue;
      const share = Math.exp(logMask[j]! - logMass);
      for (let l = 0; l < dim; l++) means[mean * dim + l]! += share * key[j * dim + l]!;
    }
  }
  return { dim, width: perBlock, key: means, logMask: logMasses };
}

/** Hides the keys of all blocks that are not in `among`. */
function hideOthers(logMask: Float64Array, among: Int32Array, width: number): void {
  const shown = new Set(among);
  for (let j = 0; j < logMask.length; j++) if (!shown.has(Math.floor(j / width))) logMask[j] = -Infinity;
}

export interface KeyDeviationsOptions {
  /** `[count, dim]`: directions of unit length along which keys differ within blocks, as `keyDirections` fits them. */
  readonly directions: Float64Array;
  /** How many queries are averaged. Default 16. */
  readonly group?: number;
  /** How many standard deviations of q.k within a block are added to its mean. Default 2. */
  readonly deviations?: number;
}

const deviationNames: OptionNames<KeyDeviationsOptions> = { directions: true, group: true, deviations: true };

/**
 * Compares means of queries with the mean key of a block, and adds deviations of q.k within the block, taken from the
 * variances of its keys along a few directions u_r:
 *
 *     score_B = sum_g softmax_B(mean_g.k_B + deviations sqrt(sum_r (mean_g.u_r)^2 var_B,r) + log sum_{j in B} m_j)
 *
 * k_B and var_B,r are weighted with the mask m. Groups are as in {@link averagedQueries}. It costs L / (group width)
 * products of d + count numbers per key, a width-th of that selector, which lets it go over all blocks at any length.
 *
 * @throws ArgumentError unless `group` is a whole number of at least 1, and `deviations` finite and not negative.
 */
export function keyDeviations(options: KeyDeviationsOptions): BlockSelector {
  requireOptions("options", options, deviationNames, "{ directions }");
  const { directions, group = 16, deviations = 2 } = options;
  requireInteger("options.group", group, 1, 1 << 20);
  requireFinite("options.directions", directions);
  if (!(deviations >= 0) || deviations === Infinity) {
    throw new ArgumentError("options.deviations", "a finite number of at least 0", deviations);
  }
  return {
    prepare(keys) {
      const { dim } = keys;
      const count = rowCount("options.directions", directions, dim);
      const { mean, variance, logMass } = blockMoments(keys, directions, count);
      return (queries) => {
        const blocks = queries.keyBlocks;
        const logsOf = (query: Float64Array): Float64Array => {
          const centres = multiplyTransposed(mean.subarray(0, blocks * dim), query, blocks, dim, 1);
          const along = multiplyTransposed(directions, query, count, dim, 1).map((x) => x * x);
          const variances = multiplyTransposed(variance.subarray(0, blocks * count), along, blocks, count, 1);
          return centres.map((centre, block) => centre + deviations * Math.sqrt(variances[block]!) + logMass[block]!);
        };
        const scores = sumOfGroups(queries, dim, group, (means, groups) =>
          Array.from({ length: groups }, (_, at) => logsOf(means.subarray(at * dim, (at + 1) * dim))),
        );
        return scores.map((score, block) => (logMass[block] === -Infinity ? -Infinity : score));
      };
    },
  };
}

/** Per block of keys the mean `[dim]`, the variances along directions `[count]`, and the log of the sum of the mask. */
function blockMoments(
  { dim, width, key, logMask }: SelectorKeys,
  directions: Float64Array,
  count: number,
): { mean: Float64Array; variance: Float64Array; logMass: Float64Array } {
  const blocks = Math.ceil(logMask.length / width);
  const mean = new Float64Array(blocks * dim);
  const variance = new Float64Array(blocks * count);
  const logMass = new Float64Array(blocks).fill(-Infinity);
  const projected = multiplyTransposed(key, directions, logMask.length, dim, count);
  for (let block = 0; block < blocks; block++) {
    const logs = logMask.subarray(block * width, (block + 1) * width);
    logMass[block] = logSumExp(logs);
    if (logMass[block] === -Infinity) continue;
    const shares = logs.map((log) => Math.exp(log - logMass[block]!));
    const centre = mean.subarray(block * dim, (block + 1) * dim);
    for (const [row, share] of shares.entries()) {
      if (share === 0) continue; // a hidden key may be anything
      const start = (block * width + row) * dim;
      for (let l = 0; l < dim; l++) centre[l]! += share * key[start + l]!;
    }
    const projectedCentre = multiplyTransposed(directions, centre, count, dim, 1);
    for (const [row, share] of shares.entries()) {
      if (share === 0) continue;
      const start = (block * width + row) * count;
      for (let r = 0; r < count; r++) {
        variance[block * count + r]! += share * (projected[start + r]! - projectedCentre[r]!) ** 2;
      }
    }
  }
  return { mean, variance, logMass };
}

/**
 * The sum over groups of queries of softmax over blocks of the logs that a group's mean gives.
 *
 * @param logsOf - takes the means `[groups, dim]`, and gives one array per group.
 */
function sumOfGroups(
  { query, queryMask, keyBlocks }: SelectorQueries,
  dim: number,
  group: number,
  logsOf: (means: Float64Array, groups: number) => Float64Array[],
): Float64Array {
  const scores = new Float64Array(keyBlocks);
  const rows = query.length / dim;
  const means = new Float64Array(Math.ceil(rows / group) * dim);
  let groups = 0;
  for (let start = 0; start < rows; start += group) {
    const mean = meanRow(query, dim, start, Math.min(rows, start + group), queryMask);
    if (mean) means.set(mean, groups++ * dim);
  }
  for (const logs of logsOf(means.subarray(0, groups * dim), groups)) addSoftmax(logs, scores);
  return scores;
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
  for (let i = 0; i < logs.length; i++) largest = Math.max(largest, logs[i]!);
  if (largest === -Infinity) return largest;
  let sum = 0;
  for (let i = 0; i < logs.length; i++) sum += Math.exp(logs[i]! - largest);
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
  const best: number[] = [];
  for (let block = 0; block < scores.length; block++) {
    const score = scores[block]!;
    if (!(score > -Infinity) || excluded(block)) continue;
    if (best.length >= count && !(score > scores[best.at(-1)!]!)) continue;
    // sorted by score; equal ones stay in the order of blocks
    let place = best.length;
    while (place > 0 && score > scores[best[place - 1]!]!) place--;
    best.splice(place, 0, block);
    if (best.length > count) best.pop();
  }
  return Int32Array.from(best).toSorted();
}
