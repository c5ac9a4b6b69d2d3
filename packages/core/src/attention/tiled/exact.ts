import { requirePositive } from "../../checks.ts";
import { requireKernels } from "../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../kernels/block-kernels.ts";
import { Layout, loadRows, maskNames, NO_MAXIMUM, padded, resolveAttention, storeNormalised } from "./rows.ts";
import type { AttentionShape, MaskOptions, ResolvedAttention, RowSource } from "./rows.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

export interface ExactOptions32 extends MaskOptions {
  /** Multiplies q.k. Default 1, the convention of the README (Scale); d^(-1/2) for q and k as layers compute them. */
  readonly scale?: number;
}

/** The names of {@link ExactOptions32}. */
export const exactNames32: OptionNames<ExactOptions32> = { ...maskNames, scale: true };

export const QUERY_TILE = 64;
export const KEY_TILE = 128;

/**
 * Exact softmax attention in float32: softmax(scale Q K^T) V, tile by tile with a running maximum per query
 * (2205.14135, algorithm 1). Takes O(L_q L_k d) time. Besides its result it holds one head's keys and values, but no L
 * x L matrix.
 *
 * A query that sees no key gives 0. Hidden keys and values are never read. NaN or Infinity in a key or value gives NaN,
 * under a causal mask also in the up to 127 queries before it that share its tile.
 *
 * @param kernels From `createKernels`.
 * @param query `[heads, queryRows, dim]`.
 * @param key `[keyHeads, keyRows, dim]`.
 * @param value `[keyHeads, keyRows, valueDim]`.
 * @returns `[heads, queryRows, valueDim]`.
 * @throws ArgumentError if the arrays do not fit the shape.
 */
export function exactAttention32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  options: ExactOptions32 = {},
): Float32Array<ArrayBuffer> {
  requireKernels(kernels);
  requireOptions("options", options, exactNames32);
  const attention = resolveAttention(query, key, value, shape, options);
  const { keyHeads, queryRows, keyRows, dim, valueDim, group, visible } = attention;
  const { scale = 1 } = options;
  requirePositive("options.scale", scale);
  const out = new Float32Array(attention.heads * queryRows * valueDim);
  const keys = visible?.length ?? keyRows;
  const blocks = layOutExact(new Layout(), dim, valueDim, keys);
  const heap = kernels.heap(blocks.size);
  heap.fill(1, blocks.ones, blocks.ones + KEY_TILE);
  const workspace = { kernels, heap, blocks, attention, keys };
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    loadExactKeys(workspace, key, value, keyHead);
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      for (let start = 0; start < queryRows; start += QUERY_TILE) {
        const rows = Math.min(QUERY_TILE, queryRows - start);
        const source = { array: query, firstRow: head * queryRows, width: dim, factor: scale };
        loadRows(heap, blocks.queries, source, start, start + rows);
        attendTile(workspace, start, rows);
        storeNormalised(kernels, heap, blocks.out, blocks.sum, rows, valueDim, out, head * queryRows + start);
      }
    }
  }
  return out;
}

export function tiles(keys: number): number {
  return Math.ceil(keys / KEY_TILE);
}

/** Where each block lies in the heap. */
export type ExactBlocks = Readonly<
  Record<
    | "queries"
    | "scores"
    | "out"
    | "maximum"
    | "rowShift"
    | "factors"
    | "sum"
    | "ones"
    | "keyRows"
    | "columnShift"
    | "keys"
    | "values"
    | "size",
    number
  >
>;

export function layOutExact(layout: Layout, dim: number, valueDim: number, keys: number): ExactBlocks {
  return {
    queries: layout.take(QUERY_TILE, padded(dim)),
    scores: layout.take(QUERY_TILE, KEY_TILE),
    out: layout.take(QUERY_TILE, padded(valueDim)),
    maximum: layout.take(1, QUERY_TILE),
    rowShift: layout.take(1, QUERY_TILE),
    factors: layout.take(1, QUERY_TILE),
    sum: layout.take(1, QUERY_TILE),
    ones: layout.take(1, KEY_TILE),
    keyRows: layout.take(KEY_TILE, padded(dim)),
    columnShift: layout.take(tiles(keys), KEY_TILE),
    /** `[tiles, padded(dim), KEY_TILE]`: K^T, each tile without gaps. */
    keys: layout.take(tiles(keys) * KEY_TILE, padded(dim)),
    values: layout.take(tiles(keys) * KEY_TILE, padded(valueDim)),
    size: layout.size,
  };
}

/**
 * The state of one call of exact attention: its memory, what lies where in it, and how many keys of a head are visible.
 */
export interface ExactWorkspace {
  readonly kernels: BlockKernels;
  readonly heap: Float32Array;
  readonly blocks: ExactBlocks;
  readonly attention: ResolvedAttention;
  readonly keys: number;
}

/** Loads the visible keys (transposed) and values of a head, and the log of their mask. */
export function loadExactKeys(
  workspace: ExactWorkspace,
  key: Float32Array,
  value: Float32Array,
  keyHead: number,
): void {
  const { heap, blocks, attention, keys } = workspace;
  const { keyRows, dim, valueDim, visible } = attention;
  const from = { firstRow: keyHead * keyRows, rows: visible };
  packKeys(workspace, { ...from, array: key, width: dim });
  loadRows(heap, blocks.values, { ...from, array: value, width: valueDim }, 0, keys);
  // the last tile is always read whole
  heap.fill(0, blocks.values + keys * padded(valueDim), blocks.values + tiles(keys) * KEY_TILE * padded(valueDim));
  fillColumnShift(heap, blocks.columnShift, attention, keys);
}

function packKeys({ kernels, heap, blocks, keys }: ExactWorkspace, source: RowSource): void {
  const width = padded(source.width);
  for (let start = 0; start < keys; start += KEY_TILE) {
    const rows = Math.min(KEY_TILE, keys - start);
    loadRows(heap, blocks.keyRows, source, start, start + rows);
    heap.fill(0, blocks.keyRows + rows * width, blocks.keyRows + KEY_TILE * width);
    kernels.transpose(blocks.keys + start * width, blocks.keyRows, KEY_TILE, width, KEY_TILE, width);
  }
}

/** The log of the mask per key, and -Infinity for the padding of the last tile. */
function fillColumnShift(heap: Float32Array, at: number, { logMask, visible }: ResolvedAttention, keys: number): void {
  for (let j = 0; j < keys; j++) heap[at + j] = logMask ? logMask[visible ? visible[j]! : j]! : 0;
  heap.fill(-Infinity, at + keys, at + tiles(keys) * KEY_TILE);
}

/**
 * For the query rows from `start`: out = the sum over key tiles of exp(scores - maximum) V, and sum = its normaliser.
 */
export function attendTile(workspace: ExactWorkspace, start: number, rows: number): void {
  const { kernels, heap, blocks, attention, keys } = workspace;
  const valueWidth = padded(attention.valueDim);
  const { scores, out, maximum, rowShift, factors, sum, ones } = blocks;
  heap.fill(0, out, out + rows * valueWidth);
  heap.fill(NO_MAXIMUM, maximum, maximum + rows);
  heap.fill(0, sum, sum + rows);
  const last = keysSeen(attention, start + rows - 1, keys);
  for (let first = 0; first < last; first += KEY_TILE) {
    const columnShift = blocks.columnShift + first;
    scoreTile(workspace, start, rows, first);
    heap.copyWithin(factors, maximum, maximum + rows);
    kernels.rowMaximum(maximum, scores, columnShift, rows, KEY_TILE);
    for (let row = 0; row < rows; row++) {
      const largest = heap[maximum + row]!;
      const factor = Math.exp(heap[factors + row]! - largest);
      heap[factors + row] = factor;
      heap[sum + row]! *= factor;
      heap[rowShift + row] = -largest;
    }
    if (first > 0) kernels.scaleRows(out, factors, rows, valueWidth);
    kernels.expRows(scores, rowShift, columnShift, rows, KEY_TILE);
    kernels.rowDots(sum, scores, ones, rows, KEY_TILE);
    const values = blocks.values + first * valueWidth;
    kernels.matmul({
      out,
      left: scores,
      right: values,
      rows,
      cols: valueWidth,
      depth: KEY_TILE,
      leftRow: KEY_TILE,
      accumulate: true,
    });
  }
}

/**
 * `scores` = Q K^T for the query rows from `start` and the key tile at `first`; -Infinity for keys that are not seen.
 */
export function scoreTile(
  { kernels, heap, blocks, attention, keys }: ExactWorkspace,
  start: number,
  rows: number,
  first: number,
): void {
  const { scores } = blocks;
  const { dim, causal } = attention;
  const dimWidth = padded(dim);
  const keyBlock = blocks.keys + first * dimWidth;
  kernels.matmul({
    out: scores,
    left: blocks.queries,
    right: keyBlock,
    rows,
    cols: KEY_TILE,
    depth: dim,
    leftRow: dimWidth,
  });
  if (!causal) return;
  for (let row = 0; row < rows; row++) {
    const end = Math.max(0, keysSeen(attention, start + row, keys) - first);
    if (end < KEY_TILE) heap.fill(-Infinity, scores + row * KEY_TILE + end, scores + (row + 1) * KEY_TILE);
  }
}

/** How many of the visible keys a query sees. */
export function keysSeen(
  { causal, visible, queryRows, keyRows }: ResolvedAttention,
  query: number,
  keys: number,
): number {
  if (!causal) return keys;
  const end = query + keyRows - queryRows + 1;
  return visible ? countBelow(visible, end) : end;
}

/** How many of these ascending numbers are less than `end`. */
function countBelow(ascending: Int32Array, end: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle]! < end) low = middle + 1;
    else high = middle;
  }
  return low;
}
