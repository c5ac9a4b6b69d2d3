import { choosers, chooseBlocks, nearBlocks } from "../../hybrid/exact-keys.ts";
import type { ExactKeys } from "../../hybrid/exact-keys.ts";
import { addSoftmax, largestBlocks } from "../../hybrid/selector.ts";
import type { BlockSelector } from "../../hybrid/selector.ts";
import { NO_MAXIMUM, padded, TILE } from "../rows.ts";
import { blockWidth } from "./blocks.ts";
import type { KeyBlockSource } from "./blocks.ts";

/**
 * The chosen blocks of every block of queries of one head. Averaged queries run in the kernels, a tile of 64 means
 * against one block of keys at a time; any other selector runs in float64.
 *
 * @param query `[heads, queryRows, dim]`; scaled by `scale` it gives logits.
 */
export function chooseBlocks32(
  source: KeyBlockSource,
  query: Float32Array,
  key: Float32Array,
  head: number,
  keyHead: number,
  scale: number,
  selector: BlockSelector,
): Int32Array[] {
  const { exact, attention } = source;
  const { dim, queryRows, keyRows, logMask } = attention;
  if (exact.chosenBlocks === 0) return Array.from({ length: exact.queryBlocks }, () => new Int32Array(0));
  const group = selector.averaged;
  if (group !== undefined) return chooseByMeans(source, query, head, scale, group);
  const rows = (array: Float32Array, index: number, count: number, factor: number): Float64Array =>
    Float64Array.from(array.subarray(index * count * dim, (index + 1) * count * dim), (x) => x * factor);
  return chooseBlocks(
    rows(query, head, queryRows, scale),
    rows(key, keyHead, keyRows, 1),
    dim,
    exact,
    Float64Array.from({ length: keyRows }, (_, j) => logMask?.[j] ?? 0),
    selector,
  );
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
    const near = nearBlocks(exact, block);
    const hidden = each.map((score, keyBlock) => (visible[keyBlock] ? score : -Infinity));
    return largestBlocks(hidden, exact.chosenBlocks, (keyBlock) => keyBlock >= near.from && keyBlock < near.to);
  });
}

/** Consecutive queries, for which block of queries they choose, and among how many blocks of keys. */
interface Group {
  readonly from: number;
  readonly to: number;
  readonly block: number;
  readonly keyBlocks: number;
}

function groupsOf(exact: ExactKeys, queryRows: number, size: number): Group[] {
  const groups: Group[] = [];
  for (let block = 0; block < exact.queryBlocks; block++) {
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
  const { kernels, heap, at, attention, exact } = source;
  const { maximum, rowShift, factors: sum } = at;
  const [width, dimWidth] = [blockWidth(exact), padded(attention.dim)];
  const end = groups.reduce((most, { keyBlocks }) => Math.max(most, keyBlocks), 0);
  const rows = groups.length;
  const logMasses = new Float64Array(rows * end).fill(-Infinity);
  for (let block = 0; block < end; block++) {
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
