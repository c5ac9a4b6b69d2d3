import { choosers, nearBlocks } from "../../hybrid/exact-keys.ts";
import type { ExactKeys } from "../../hybrid/exact-keys.ts";
import { addSoftmax, largestBlocks } from "../../hybrid/selector.ts";
import type { BlockSelector } from "../../hybrid/selector.ts";
import { NO_MAXIMUM, padded, TILE } from "../rows.ts";
import { blockWidth } from "./blocks.ts";
import type { KeyBlockSource } from "./blocks.ts";

/** Gives the chosen blocks of every block of queries of a query head; `query` is `[heads, queryRows, dim]`. */
type Chooser = (query: Float32Array, head: number) => Int32Array[];

/**
 * Prepares the choice of blocks for the keys of a head that {@link loadKeyBlocks} has loaded. Averaged queries run in the
 * kernels: a tile of 64 means against one block of keys at a time, or one block's means against its candidates. All else
 * runs in float64.
 *
 * @param scale Multiplies q.k.
 */
export function prepareChoice(
  source: KeyBlockSource,
  key: Float32Array,
  keyHead: number,
  scale: number,
  selector: BlockSelector,
): Chooser {
  const { exact, attention } = source;
  const { dim, queryRows, keyRows, logMask } = attention;
  if (exact.chosenBlocks === 0) return () => Array.from({ length: exact.queryBlocks }, () => new Int32Array(0));
  const { averaged } = selector;
  if (averaged && !averaged.candidates)
    return (query, head) => chooseByMeans(source, query, head, scale, averaged.group);
  const scoresOf = (averaged?.candidates?.selector ?? selector).prepare({
    dim,
    width: exact.window,
    key: new Float64Array(key.subarray(keyHead * keyRows * dim, (keyHead + 1) * keyRows * dim)),
    logMask: Float64Array.from({ length: keyRows }, (_, j) => logMask?.[j] ?? 0),
  });
  const count = averaged?.candidates?.count;
  return (query, head) =>
    Array.from({ length: exact.queryBlocks }, (_, block) => {
      const choose = choosers(exact, block, queryRows);
      if (!choose) return new Int32Array(0);
      const start = (head * queryRows + choose.from) * dim;
      const rows = query.subarray(start, start + (choose.to - choose.from) * dim);
      const { queryMask } = exact;
      let scores = scoresOf({
        query: new Float64Array(rows).map((x) => x * scale),
        queryMask:
          queryMask && Array.from({ length: choose.to - choose.from }, (__, row) => queryMask[choose.from + row]!),
        keyBlocks: choose.keyBlocks,
      });
      if (averaged && count !== undefined) {
        const candidates = largestBlocks(scores, count, () => false);
        const groups = groupsOf(exact, queryRows, averaged.group, block);
        scores = scoresAmong(source, query, head, scale, groups, candidates, choose.keyBlocks);
      }
      return choose32(exact, block, scores);
    });
}

/** The largest scores but for near blocks. */
function choose32(exact: ExactKeys, block: number, scores: Float64Array): Int32Array {
  const near = nearBlocks(exact, block);
  return largestBlocks(scores, exact.chosenBlocks, (each) => each >= near.from && each < near.to);
}

/** Scores by the means of one block's groups, softmax over the keys of the candidates; -Infinity for all others. */
function scoresAmong(
  source: KeyBlockSource,
  query: Float32Array,
  head: number,
  scale: number,
  groups: readonly Group[],
  candidates: Int32Array,
  keyBlocks: number,
): Float64Array {
  const { heap, at } = source;
  const { maximum, factors: sum } = at;
  const scores = new Float64Array(keyBlocks).fill(-Infinity);
  for (const block of candidates) scores[block] = 0;
  const logMasses = new Float64Array(candidates.length);
  for (let start = 0; start < groups.length; start += TILE) {
    const tile = groups.slice(start, start + TILE);
    const rows = tile.length;
    loadMeans(source, query, head, scale, tile);
    const tileMasses = Array.from({ length: rows }, () => logMasses.slice());
    for (const [index, block] of candidates.entries()) {
      massOfBlock(source, block, rows);
      for (let row = 0; row < rows; row++) {
        const total = heap[sum + row]!;
        tileMasses[row]![index] = total === 0 ? -Infinity : heap[maximum + row]! + Math.log(total);
      }
    }
    for (const masses of tileMasses) {
      const shares = new Float64Array(candidates.length);
      addSoftmax(masses, shares);
      for (const [index, block] of candidates.entries()) scores[block]! += shares[index]!;
    }
  }
  return scores;
}

/** Of the means in `queries`, `maximum` becomes the largest logit of a block, and `factors` sum_j m_j exp(logit - maximum). */
function massOfBlock({ kernels, heap, at, attention, exact }: KeyBlockSource, block: number, rows: number): void {
  const { maximum, rowShift, factors: sum } = at;
  const [width, dimWidth] = [blockWidth(exact), padded(attention.dim)];
  const shift = at.columnShift + block * width;
  kernels.matmul({
    out: at.scores,
    left: at.queries,
    right: at.keysTransposed + block * dimWidth * width,
    rows,
    cols: width,
    depth: attention.dim,
    leftRow: dimWidth,
  });
  heap.fill(NO_MAXIMUM, maximum, maximum + rows);
  kernels.rowMaximum(maximum, at.scores, shift, rows, width);
  for (let row = 0; row < rows; row++) heap[rowShift + row] = -heap[maximum + row]!;
  kernels.expRows(at.scores, rowShift, shift, rows, width);
  heap.fill(0, sum, sum + rows);
  kernels.rowDots(sum, at.scores, at.ones, rows, width);
}

function chooseByMeans(
  source: KeyBlockSource,
  query: Float32Array,
  head: number,
  scale: number,
  group: number,
): Int32Array[] {
  const { exact, attention } = source;
  const { queryRows } = attention;
  const scores = Array.from(
    { length: exact.queryBlocks },
    (_, block) => new Float64Array(choosers(exact, block, queryRows)?.keyBlocks ?? 0),
  );
  const groups = groupsOf(exact, queryRows, group);
  for (let start = 0; start < groups.length; start += TILE) {
    const tile = groups.slice(start, start + TILE);
    loadMeans(source, query, head, scale, tile);
    addTile(source, tile, scores);
  }
  const visible = visibleBlocks(source);
  return scores.map((each, block) => {
    const hidden = each.map((score, keyBlock) => (visible[keyBlock] ? score : -Infinity));
    return choose32(exact, block, hidden);
  });
}

/** Consecutive queries, for which block of queries they choose, and among how many blocks of keys. */
interface Group {
  readonly from: number;
  readonly to: number;
  readonly block: number;
  readonly keyBlocks: number;
}

/** The groups of all blocks of queries, or of one. */
function groupsOf(exact: ExactKeys, queryRows: number, size: number, only?: number): Group[] {
  const groups: Group[] = [];
  for (let block = only ?? 0; block < (only === undefined ? exact.queryBlocks : only + 1); block++) {
    const choose = choosers(exact, block, queryRows);
    if (!choose) continue;
    for (let from = choose.from; from < choose.to; from += size) {
      const to = Math.min(choose.to, from + size);
      if (isShown(exact, from, to)) groups.push({ from, to, block, keyBlocks: choose.keyBlocks });
    }
  }
  return groups;
}

function isShown({ queryMask }: ExactKeys, from: number, to: number): boolean {
  for (let row = from; row < to; row++) if (queryMask?.[row] !== 0) return true;
  return false;
}

/** `queries` = the means of groups of queries, times `scale`. */
function loadMeans(
  { heap, at, attention, exact }: KeyBlockSource,
  query: Float32Array,
  head: number,
  scale: number,
  groups: readonly Group[],
): void {
  const { dim, queryRows } = attention;
  const dimWidth = padded(dim);
  for (const [index, { from, to }] of groups.entries()) {
    const target = at.queries + index * dimWidth;
    heap.fill(0, target, target + dimWidth);
    let rows = 0;
    for (let row = from; row < to; row++) {
      if (exact.queryMask?.[row] === 0) continue;
      rows++;
      const start = (head * queryRows + row) * dim;
      for (let l = 0; l < dim; l++) heap[target + l]! += query[start + l]!;
    }
    for (let l = 0; l < dim; l++) heap[target + l]! *= scale / rows;
  }
}

/** Adds the softmax over blocks of each mean's log masses to the scores of its block of queries. */
function addTile(source: KeyBlockSource, groups: readonly Group[], scores: readonly Float64Array[]): void {
  const { heap, at } = source;
  const { maximum, factors: sum } = at;
  const end = groups.reduce((most, { keyBlocks }) => Math.max(most, keyBlocks), 0);
  const rows = groups.length;
  const logMasses = new Float64Array(rows * end).fill(-Infinity);
  for (let block = 0; block < end; block++) {
    massOfBlock(source, block, rows);
    for (let row = 0; row < rows; row++) {
      if (heap[sum + row] !== 0) logMasses[row * end + block] = heap[maximum + row]! + Math.log(heap[sum + row]!);
    }
  }
  for (const [row, { block, keyBlocks }] of groups.entries()) {
    addSoftmax(logMasses.subarray(row * end, row * end + keyBlocks), scores[block]!);
  }
}

/** Whether a block of keys has one that is shown. */
function visibleBlocks({ heap, at, exact }: KeyBlockSource): boolean[] {
  const width = blockWidth(exact);
  return Array.from({ length: exact.keyBlocks }, (_, block) => {
    const shift = at.columnShift + block * width;
    return heap.subarray(shift, shift + width).some((log) => log > -Infinity);
  });
}
