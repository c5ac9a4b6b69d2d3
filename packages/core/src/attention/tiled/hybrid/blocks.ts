import type { ExactKeys } from "../../hybrid/exact-keys.ts";
import { loadRows, padded, TILE } from "../rows.ts";
import type { Layout, ResolvedAttention } from "../rows.ts";
import type { BlockKernels } from "../../../kernels/block-kernels.ts";

/** Columns of the first key's slot, which holds one key. */
export const FIRST_WIDTH = 8;

/** Where each block lies in the heap; sizes at {@link layOutHybrid}. */
export type HybridBlocks = Readonly<
  Record<
    | "keysTransposed"
    | "values"
    | "columnShift"
    | "queries"
    | "scores"
    | "slotShift"
    | "ones"
    | "maximum"
    | "rowShift"
    | "factors"
    | "logFactor"
    | "queryWeight"
    | "queryNormMatrix"
    | "columns",
    number
  >
>;

/** The width of a block of keys in the heap. */
export function blockWidth({ window }: ExactKeys): number {
  return padded(Math.max(1, window));
}

/** The most blocks that are exact for one block of queries. */
function slots({ chosenBlocks, keyBlocks }: ExactKeys): number {
  return Math.min(keyBlocks, 3 + chosenBlocks);
}

/** Blocks of keys are numbered as in {@link ExactKeys}; the one after the last holds the first key. */
export function layOutHybrid(layout: Layout, dim: number, valueDim: number, exact: ExactKeys): HybridBlocks {
  const width = blockWidth(exact);
  const blocks = exact.keyBlocks + 1;
  const columns = Math.max(FIRST_WIDTH + slots(exact) * width, width);
  return {
    /** `[blocks, padded(dim), width]`: K^T of each block. */
    keysTransposed: layout.take(blocks * padded(dim), width),
    /** `[blocks, width, padded(valueDim)]`. */
    values: layout.take(blocks * width, padded(valueDim)),
    /** `[blocks, width]`: the log of the mask; -Infinity for padding, and for the first key in its own block. */
    columnShift: layout.take(blocks, width),
    /** Tiles, `[TILE, ...]`. */
    queries: layout.take(TILE, padded(dim)),
    scores: layout.take(TILE, columns),
    /** The most columns of `scores`. */
    columns,
    slotShift: layout.take(1, columns),
    ones: layout.take(1, columns),
    maximum: layout.take(1, TILE),
    rowShift: layout.take(1, TILE),
    factors: layout.take(1, TILE),
    /** `[TILE]`: the log of the far field's factor of each query, see `FeatureMap32.queryFactor`. */
    logFactor: layout.take(1, TILE),
    queryWeight: layout.take(1, padded(dim)),
    queryNormMatrix: layout.take(padded(dim), padded(dim)),
  };
}

/** The arrays of one key head, and where its blocks lie. */
export interface KeyBlockSource {
  readonly kernels: BlockKernels;
  readonly heap: Float32Array;
  readonly attention: ResolvedAttention;
  readonly exact: ExactKeys;
  /** The log of the first key's mask. */
  readonly firstLog: number;
  readonly at: HybridBlocks;
}

/**
 * Loads all keys (transposed) and values of a head, block by block, hidden ones as zeros, and the log of the mask.
 * `scratch` is a block `[width, padded(dim)]`; `keep` is called with each block of keys while it lies there.
 */
export function loadKeyBlocks(
  { kernels, heap, attention, exact, firstLog, at }: KeyBlockSource,
  key: Float32Array,
  value: Float32Array,
  keyHead: number,
  scratch: number,
  keep: (block: number) => void = () => undefined,
): void {
  const { keyRows, dim, valueDim, logMask } = attention;
  const [width, dimWidth, valueWidth] = [blockWidth(exact), padded(dim), padded(valueDim)];
  const firstRow = keyHead * keyRows;
  for (let block = 0; block <= exact.keyBlocks; block++) {
    const isFirst = block === exact.keyBlocks;
    const from = isFirst ? Math.max(0, exact.first) : block * exact.window;
    const to = isFirst ? exact.first + 1 : Math.min(keyRows, from + exact.window);
    const size = Math.max(0, to - from);
    const values = at.values + block * width * valueWidth;
    const shift = at.columnShift + block * width;
    heap.fill(0, scratch, scratch + width * dimWidth);
    heap.fill(0, values, values + width * valueWidth);
    heap.fill(-Infinity, shift, shift + width);
    loadRows(heap, scratch, { array: key, firstRow, width: dim }, from, from + size);
    loadRows(heap, values, { array: value, firstRow, width: valueDim }, from, from + size);
    for (let row = 0; row < size; row++) {
      // `logMask` hides the first key from all blocks but its own
      const log = isFirst ? firstLog : (logMask?.[from + row] ?? 0);
      heap[shift + row] = log;
      if (log !== -Infinity) continue;
      heap.fill(0, scratch + row * dimWidth, scratch + (row + 1) * dimWidth);
      heap.fill(0, values + row * valueWidth, values + (row + 1) * valueWidth);
    }
    kernels.transpose(at.keysTransposed + block * dimWidth * width, scratch, width, dimWidth, width, dimWidth);
    keep(block);
  }
}
