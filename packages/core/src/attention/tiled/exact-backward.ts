import { requireLayout, requirePositive } from "../../checks.ts";
import { requireKernels } from "../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../kernels/block-kernels.ts";
import {
  exactNames32,
  attendTile,
  KEY_TILE,
  keysSeen,
  layOutExact,
  loadExactKeys,
  QUERY_TILE,
  scoreTile,
  tiles,
} from "./exact.ts";
import type { ExactOptions32, ExactWorkspace } from "./exact.ts";
import { differentiateNormaliser } from "./gradient-rows.ts";
import type { AttentionGradients32 } from "./gradient-rows.ts";
import { Layout, loadRows, padded, resolveAttention, storeRows } from "./rows.ts";
import type { AttentionShape } from "./rows.ts";
import { requireOptions } from "../../options.ts";

/**
 * Backward pass of `exactAttention32` (2205.14135, algorithm 4). With P = exp(scale Q K^T - maximum), n its row sums
 * and G_i = g_i / n_i:
 *
 *     dV = P^T G        dS_ij = P_ij (G_i.v_j - G_i.out_i)        dQ = scale dS K        dK = scale dS^T Q
 *
 * Scores are recomputed tile by tile. Takes O(L_q L_k d) time, seven products where the forward pass has two. Besides
 * the gradients it holds one head's keys, values and their gradients, but no L x L matrix.
 *
 * Hidden keys, and queries that see no key, have gradient 0; their contents are never read. NaN gives NaN in every
 * gradient that it reaches, and under a causal mask also in rows that share a tile with these.
 *
 * @param gradient Gradient of the loss with respect to the output, `[heads, queryRows, valueDim]`.
 * @param options As in the forward pass.
 * @throws ArgumentError if the arrays do not fit the shape.
 */
export function exactAttentionBackward32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  gradient: Float32Array,
  options: ExactOptions32 = {},
): AttentionGradients32 {
  requireKernels(kernels);
  requireOptions("options", options, exactNames32);
  const attention = resolveAttention(query, key, value, shape, options);
  const { heads, keyHeads, queryRows, keyRows, dim, valueDim, group, visible } = attention;
  requireLayout("gradient", gradient, "[heads, queryRows, valueDim]", heads * queryRows * valueDim);
  const { scale = 1 } = options;
  requirePositive("options.scale", scale);
  const gradients = {
    query: new Float32Array(query.length),
    key: new Float32Array(key.length),
    value: new Float32Array(value.length),
  };
  const keys = visible?.length ?? keyRows;
  const blocks = layOut(dim, valueDim, keys);
  const heap = kernels.heap(blocks.size);
  heap.fill(1, blocks.ones, blocks.ones + KEY_TILE);
  const workspace = { kernels, heap, blocks, attention, keys };
  const keySpace = tiles(keys) * KEY_TILE;
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    const rowsOf = { firstRow: keyHead * keyRows, rows: visible };
    loadExactKeys(workspace, key, value, keyHead);
    loadRows(heap, blocks.wholeKeys, { ...rowsOf, array: key, width: dim }, 0, keys);
    heap.fill(0, blocks.wholeKeys + keys * padded(dim), blocks.wholeKeys + keySpace * padded(dim));
    transposeValues(kernels, blocks, valueDim, keys);
    heap.fill(0, blocks.keyGradient, blocks.keyGradient + keySpace * padded(dim));
    heap.fill(0, blocks.valueGradient, blocks.valueGradient + keySpace * padded(valueDim));
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      for (let start = 0; start < queryRows; start += QUERY_TILE) {
        const rows = Math.min(QUERY_TILE, queryRows - start);
        const firstRow = head * queryRows;
        loadRows(heap, blocks.queries, { array: query, firstRow, width: dim, factor: scale }, start, start + rows);
        attendTile(workspace, start, rows);
        const ofRows = { ...blocks, divisor: blocks.sum };
        differentiateNormaliser(heap, ofRows, gradient, firstRow + start, rows, valueDim);
        differentiateTile(workspace, start, rows);
        const target = { array: gradients.query, firstRow, width: dim, factor: scale };
        storeRows(heap, blocks.queryGradient, target, start, start + rows);
      }
    }
    storeRows(heap, blocks.keyGradient, { ...rowsOf, array: gradients.key, width: dim }, 0, keys);
    storeRows(heap, blocks.valueGradient, { ...rowsOf, array: gradients.value, width: valueDim }, 0, keys);
  }
  return gradients;
}

type Blocks = ReturnType<typeof layOut>;

function layOut(dim: number, valueDim: number, keys: number) {
  const layout = new Layout();
  const own = {
    upstream: layout.take(QUERY_TILE, padded(valueDim)),
    inner: layout.take(1, QUERY_TILE),
    scoreGradient: layout.take(QUERY_TILE, KEY_TILE),
    queryGradient: layout.take(QUERY_TILE, padded(dim)),
    /** `[tiles, KEY_TILE, ...]`: K, dK and dV; V^T in tiles `[padded(valueDim), KEY_TILE]`. */
    wholeKeys: layout.take(tiles(keys) * KEY_TILE, padded(dim)),
    keyGradient: layout.take(tiles(keys) * KEY_TILE, padded(dim)),
    valueGradient: layout.take(tiles(keys) * KEY_TILE, padded(valueDim)),
    valuesTransposed: layout.take(tiles(keys) * KEY_TILE, padded(valueDim)),
  };
  return { ...own, ...layOutExact(layout, dim, valueDim, keys) };
}

function transposeValues(kernels: BlockKernels, blocks: Blocks, valueDim: number, keys: number): void {
  const width = padded(valueDim);
  for (let start = 0; start < keys; start += KEY_TILE) {
    const tile = start * width;
    kernels.transpose(blocks.valuesTransposed + tile, blocks.values + tile, KEY_TILE, width, KEY_TILE, width);
  }
}

/**
 * dQ of the query rows from `start`, and their share of dK and dV; `upstream`, `inner` and `maximum` belong to these
 * rows.
 */
function differentiateTile(workspace: ExactWorkspace & { readonly blocks: Blocks }, start: number, rows: number): void {
  const { kernels, heap, blocks, attention, keys } = workspace;
  const { scores, scoreGradient, upstream, inner, ones, rowShift, queries, queryGradient } = blocks;
  const { dim, valueDim } = attention;
  const dimWidth = padded(dim);
  const valueWidth = padded(valueDim);
  const tile = KEY_TILE;
  heap.fill(0, queryGradient, queryGradient + rows * dimWidth);
  for (let row = 0; row < rows; row++) heap[rowShift + row] = -heap[blocks.maximum + row]!;
  const last = keysSeen(attention, start + rows - 1, keys);
  for (let first = 0; first < last; first += tile) {
    scoreTile(workspace, start, rows, first);
    kernels.expRows(scores, rowShift, blocks.columnShift + first, rows, tile);
    const valueGradient = blocks.valueGradient + first * valueWidth;
    kernels.matmulTransposed({
      out: valueGradient,
      left: scores,
      right: upstream,
      rows: tile,
      cols: valueWidth,
      depth: rows,
      leftRow: tile,
      accumulate: true,
    });
    const values = blocks.valuesTransposed + first * valueWidth;
    kernels.matmul({
      out: scoreGradient,
      left: upstream,
      right: values,
      rows,
      cols: tile,
      depth: valueDim,
      leftRow: valueWidth,
    });
    kernels.matmul({
      out: scoreGradient,
      left: inner,
      right: ones,
      rows,
      cols: tile,
      depth: 1,
      leftRow: 1,
      accumulate: true,
    });
    kernels.multiply(scoreGradient, scores, rows, tile);
    const wholeKeys = blocks.wholeKeys + first * dimWidth;
    kernels.matmul({
      out: queryGradient,
      left: scoreGradient,
      right: wholeKeys,
      rows,
      cols: dimWidth,
      depth: tile,
      leftRow: tile,
      accumulate: true,
    });
    const keyGradient = blocks.keyGradient + first * dimWidth;
    kernels.matmulTransposed({
      out: keyGradient,
      left: scoreGradient,
      right: queries,
      rows: tile,
      cols: dimWidth,
      depth: rows,
      leftRow: tile,
      accumulate: true,
    });
  }
}
