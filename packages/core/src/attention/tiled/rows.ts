import { requireLayout, requireMask, requireSize } from "../../checks.ts";
import { ArgumentError } from "../../errors.ts";
import type { BlockKernels } from "../../kernels/block-kernels.ts";
import { requireOptions } from "../../options.ts";
import type { OptionNames } from "../../options.ts";

/**
 * Sizes of float32 attention over queries and keys. Row-major, last index fastest: query `[heads, queryRows, dim]`, key
 * `[keyHeads, keyRows, dim]`, value `[keyHeads, keyRows, valueDim]`, output `[heads, queryRows, valueDim]`.
 */
export interface AttentionShape {
  readonly heads: number;
  /** Grouped queries: query head h reads key head floor(h * keyHeads / heads). Default `heads`. */
  readonly keyHeads?: number;
  readonly queryRows: number;
  readonly keyRows: number;
  readonly dim: number;
  /** Default `dim`. */
  readonly valueDim?: number;
}

export interface MaskOptions {
  /** `[keyRows]`, shared by the heads; multiplies exp(q.k) or phi(K). 0 hides a key and its value. Default: all 1. */
  readonly keyMask?: ArrayLike<number>;
  /** Query i sees the keys up to i + (keyRows - queryRows). Default false. */
  readonly causal?: boolean;
}

const shapeNames: OptionNames<AttentionShape> = {
  heads: true,
  keyHeads: true,
  queryRows: true,
  keyRows: true,
  dim: true,
  valueDim: true,
};
/** The names of {@link MaskOptions}. */
export const maskNames: OptionNames<MaskOptions> = { keyMask: true, causal: true };

/** Stands for "no maximum yet". Finite, so that the difference of two is not NaN. */
export const NO_MAXIMUM = -1e30;

/** Rows of a tile: [64, M] features of a few hundred columns stay in the first two cache levels. */
export const TILE = 64;

/** `size` rounded up to a multiple of 8, as the columns of all blocks are. */
export function padded(size: number): number {
  return Math.ceil(size / 8) * 8;
}

/** Hands out consecutive blocks of a workspace. */
export class Layout {
  size = 0;

  /** The offset of a new block of this many numbers. */
  take(rows: number, cols: number): number {
    const offset = this.size;
    this.size += padded(rows * cols);
    return offset;
  }
}

export interface ResolvedAttention extends Required<AttentionShape> {
  readonly group: number;
  readonly causal: boolean;
  /** The keys that are not hidden, in order; undefined if none is hidden. */
  readonly visible: Int32Array | undefined;
  /** `[keyRows]`: log of the mask, undefined where all are 1. */
  readonly logMask: Float32Array | undefined;
}

/**
 * Fills defaults and checks arguments.
 *
 * @throws ArgumentError, naming the argument, what was expected and what was found.
 */
export function resolveAttention(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  { keyMask, causal = false }: MaskOptions,
): ResolvedAttention {
  requireOptions("shape", shape, shapeNames, "{ heads: 8, queryRows: 512, keyRows: 512, dim: 64 }");
  const { heads, keyHeads = heads, queryRows, keyRows, dim, valueDim = dim } = shape;
  const sizes = { heads, keyHeads, dim, valueDim };
  for (const [name, size] of Object.entries(sizes)) requireSize(`shape.${name}`, size, 1);
  requireSize("shape.queryRows", queryRows, 0);
  requireSize("shape.keyRows", keyRows, 0);
  if (heads % keyHeads !== 0) throw new ArgumentError("shape.keyHeads", `a divisor of heads (${heads})`, keyHeads);
  requireLayout("query", query, "[heads, queryRows, dim]", heads * queryRows * dim);
  requireLayout("key", key, "[keyHeads, keyRows, dim]", keyHeads * keyRows * dim);
  requireLayout("value", value, "[keyHeads, keyRows, valueDim]", keyHeads * keyRows * valueDim);
  if (causal && keyRows < queryRows) {
    throw new ArgumentError("shape.keyRows", `at least queryRows (${queryRows}) in causal attention`, keyRows);
  }
  return { ...sizes, queryRows, keyRows, group: heads / keyHeads, causal, ...readMask(keyMask, keyRows) };
}

function readMask(
  keyMask: ArrayLike<number> | undefined,
  keyRows: number,
): Pick<ResolvedAttention, "visible" | "logMask"> {
  if (!keyMask) return { visible: undefined, logMask: undefined };
  requireMask("keyMask", keyMask, keyRows);
  const visible: number[] = [];
  const logMask = new Float32Array(keyRows);
  for (let row = 0; row < keyRows; row++) {
    const mask = keyMask[row]!;
    logMask[row] = Math.log(mask);
    if (mask > 0) visible.push(row);
  }
  return {
    visible: visible.length < keyRows ? Int32Array.from(visible) : undefined,
    logMask: logMask.every((log) => log === 0) ? undefined : logMask,
  };
}

/** Where rows come from: an array `[..., rows, width]`, and which of its rows. */
export interface RowSource {
  readonly array: Float32Array;
  /** The number of rows before the head's first. */
  readonly firstRow: number;
  readonly width: number;
  /** Which rows of the head; default: consecutive ones. */
  readonly rows?: Int32Array | undefined;
  /** Subtracted from every row, `[width]`. */
  readonly mean?: Float64Array | undefined;
  /** Multiplied onto every row, after the mean. Default 1. */
  readonly factor?: number;
}

/** Copies rows from..to of a source into the block at `block` of the workspace, padding their width with zeros. */
export function loadRows(heap: Float32Array, block: number, source: RowSource, from: number, to: number): void {
  const { array, firstRow, width, rows, mean, factor = 1 } = source;
  const stride = padded(width);
  if (!rows && !mean && factor === 1 && stride === width) {
    heap.set(array.subarray((firstRow + from) * width, (firstRow + to) * width), block);
    return;
  }
  for (let row = from; row < to; row++) {
    const start = (firstRow + (rows ? rows[row]! : row)) * width;
    const target = block + (row - from) * stride;
    if (mean) for (let l = 0; l < width; l++) heap[target + l] = (array[start + l]! - mean[l]!) * factor;
    else for (let l = 0; l < width; l++) heap[target + l] = array[start + l]! * factor;
    heap.fill(0, target + width, target + stride);
  }
}

/** Copies the block at `block` to rows from..to of an array, without its padding: the inverse of {@link loadRows}. */
export function storeRows(
  heap: Float32Array,
  block: number,
  target: Omit<RowSource, "mean">,
  from: number,
  to: number,
): void {
  const { array, firstRow, width, rows, factor = 1 } = target;
  const stride = padded(width);
  for (let row = from; row < to; row++) {
    const start = (firstRow + (rows ? rows[row]! : row)) * width;
    const source = block + (row - from) * stride;
    for (let l = 0; l < width; l++) array[start + l] = heap[source + l]! * factor;
  }
}

/**
 * Divides the block `[rows, padded(width)]` by its normalisers, row by row, and copies it to the result. A normaliser
 * of 0 means that there is nothing to attend to, and gives a row of 0.
 */
export function storeNormalised(
  kernels: BlockKernels,
  heap: Float32Array,
  block: number,
  normaliser: number,
  rows: number,
  width: number,
  out: Float32Array,
  outRow: number,
): void {
  const stride = padded(width);
  for (let row = 0; row < rows; row++) {
    const divisor = heap[normaliser + row]!;
    heap[normaliser + row] = divisor === 0 ? 0 : 1 / divisor;
  }
  kernels.scaleRows(block, normaliser, rows, stride);
  if (stride === width) {
    out.set(heap.subarray(block, block + rows * width), outRow * width);
    return;
  }
  for (let row = 0; row < rows; row++) {
    const start = block + row * stride;
    out.set(heap.subarray(start, start + width), (outRow + row) * width);
  }
}
