import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { FeatureMap32 } from "./features.ts";
import { applyElementwise } from "./elementwise.ts";
import { Layout, loadRows, NO_MAXIMUM, padded, storeNormalised } from "./rows.ts";
import type { ResolvedAttention } from "./rows.ts";

/** How far the log of a key's feature may exceed the maximum that it is held relative to: exp(30) leaves room to sum. */
const HEADROOM = 30;
/** Rows of a tile: [64, M] features of a few hundred columns stay in the first two cache levels. */
export const TILE = 64;

/**
 * The workspace of a float32 FAVOR computation and the steps on its tiles, shared by the bidirectional and the causal
 * order of them. Its size does not depend on the length.
 *
 * Stabilised per feature: with c_m the largest log phi_m of the keys so far, keys are held as phi_m exp(-c_m) and
 * queries as phi_m exp(c_m) over their row's largest. So the product is unchanged, no exponential exceeds 1 (causal: a
 * bound), and every normaliser is at least about 1. With a core, which mixes features, all c_m are equal. Trigonometric
 * features have one c for all, the largest |k|^2/2. Elementwise ones are taken as they are.
 */
export class FavorWorkspace {
  readonly kernels: BlockKernels;
  readonly heap: Float32Array;
  readonly attention: ResolvedAttention;
  readonly hasCore: boolean;
  readonly count: number;
  /** Widths of the blocks, multiples of 8. */
  readonly countWidth: number;
  readonly dimWidth: number;
  readonly valueWidth: number;
  readonly at: WorkspaceBlocks;
  #features!: FeatureMap32;

  /** `layout` holds what the caller has taken of the heap for itself. */
  constructor(
    kernels: BlockKernels,
    attention: ResolvedAttention,
    count: number,
    hasCore: boolean,
    layout: Layout = new Layout(),
  ) {
    this.kernels = kernels;
    this.attention = attention;
    this.hasCore = hasCore;
    this.count = count;
    this.countWidth = padded(count);
    this.dimWidth = padded(attention.dim);
    this.valueWidth = padded(attention.valueDim);
    this.at = layOut(layout, this.dimWidth, this.countWidth, this.valueWidth, hasCore);
    this.heap = kernels.heap(this.at.size);
  }

  /** Loads a head's feature map, and forgets the sums and maxima of the keys before. */
  startHead(features: FeatureMap32): void {
    const { heap, at, countWidth, dimWidth } = this;
    const { dim, count } = features;
    if (features !== this.#features) {
      this.#features = features;
      this.#loadTransposed(at.queryProjection, features.queryProjection, count, dim, countWidth);
      this.#loadTransposed(at.keyProjection, features.keyProjection, count, dim, countWidth);
      if (typeof features.normMatrix !== "number") {
        this.#loadTransposed(at.normMatrix, features.normMatrix, dim, dim, dimWidth);
      }
      heap.fill(0, at.keyWeight, at.keyWeight + dimWidth);
      if (features.keyWeight) heap.set(features.keyWeight, at.keyWeight);
      if (features.phase) heap.set(features.phase, at.phase);
      if (features.core) this.#loadTransposed(at.core, features.core, count, count, countWidth);
    }
    // elementwise features are not held relative to anything: no maximum, and none to exceed
    heap.fill(features.elementwise ? Infinity : NO_MAXIMUM, at.maximum, at.maximum + countWidth);
    heap.fill(0, at.sums, at.sums + countWidth * this.valueWidth);
    heap.fill(0, at.normaliser, at.normaliser + countWidth);
  }

  /** matrix `[rows, cols]` into a block `[padded(cols), width]`, transposed. */
  #loadTransposed(block: number, matrix: Float64Array, rows: number, cols: number, width: number): void {
    this.heap.fill(0, block, block + padded(cols) * width);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < cols; c++) this.heap[block + c * width + r] = matrix[r * cols + c]!;
    }
  }

  /**
   * Loads keys and values from..to of a key head (of its visible keys, if `rows` are given): `keyFeatures` gets
   * the projected keys, `rowShift` what each key's log features have in common.
   */
  loadKeys(
    key: Float32Array,
    value: Float32Array,
    keyHead: number,
    rows: Int32Array | undefined,
    from: number,
    to: number,
  ): void {
    const { kernels, heap, at, attention, countWidth, dimWidth } = this;
    const { dim, valueDim, logMask, keyRows } = attention;
    const { keyMean, keyWeight, normMatrix, phase } = this.#features;
    const sign = phase ? -1 : 1;
    const size = to - from;
    const firstRow = keyHead * keyRows;
    loadRows(heap, at.rows, { array: key, firstRow, width: dim, rows, mean: keyMean }, from, to);
    loadRows(heap, at.values, { array: value, firstRow, width: valueDim, rows }, from, to);
    if (logMask && !rows) this.#clearHidden(from, to);
    heap.fill(0, at.rowShift, at.rowShift + size);
    if (typeof normMatrix === "number") {
      if (normMatrix !== 0) kernels.subtractHalfNorms(at.rowShift, at.rows, size, dimWidth);
      for (let row = 0; row < size; row++) heap[at.rowShift + row]! *= sign * normMatrix ** 2;
    } else {
      kernels.matmul({
        out: at.normRows,
        left: at.rows,
        right: at.normMatrix,
        rows: size,
        cols: dimWidth,
        depth: dim,
        leftRow: dimWidth,
      });
      kernels.subtractHalfNorms(at.rowShift, at.normRows, size, dimWidth);
    }
    if (keyWeight) kernels.rowDots(at.rowShift, at.rows, at.keyWeight, size, dimWidth);
    if (logMask) {
      for (let row = 0; row < size; row++) {
        heap[at.rowShift + row]! += logMask[rows ? rows[from + row]! : from + row]!;
      }
    }
    kernels.matmul({
      out: at.keyFeatures,
      left: at.rows,
      right: at.keyProjection,
      rows: size,
      cols: countWidth,
      depth: dim,
      leftRow: dimWidth,
    });
  }

  /** Hidden keys that keep their place become 0, for their content may be NaN. */
  #clearHidden(from: number, to: number): void {
    const { heap, at, attention, dimWidth, valueWidth } = this;
    for (let row = from; row < to; row++) {
      if (attention.logMask![row] !== -Infinity) continue;
      const index = row - from;
      heap.fill(0, at.rows + index * dimWidth, at.rows + (index + 1) * dimWidth);
      heap.fill(0, at.values + index * valueWidth, at.values + (index + 1) * valueWidth);
    }
  }

  /** Takes rows `first`.. of the loaded keys into the maxima, and rescales the sums where these grow. */
  raiseMaximum(first: number, rows: number): void {
    const { kernels, heap, at, countWidth, count, valueWidth } = this;
    const { elementwise, phase } = this.#features;
    if (elementwise) return;
    heap.copyWithin(at.factors, at.maximum, at.maximum + countWidth);
    if (phase) {
      let largest = heap[at.maximum]!;
      for (const log of heap.subarray(at.rowShift + first, at.rowShift + first + rows)) {
        if (log > largest && log < Infinity) largest = log;
      }
      heap.fill(largest, at.maximum, at.maximum + count);
    } else {
      kernels.columnMaximum(at.maximum, at.keyFeatures + first * countWidth, at.rowShift + first, rows, countWidth);
      if (this.hasCore) {
        const largest = heap.subarray(at.maximum, at.maximum + count).reduce((a, b) => Math.max(a, b));
        heap.fill(largest, at.maximum, at.maximum + count);
      }
    }
    let grown = false;
    for (let m = 0; m < count; m++) {
      const maximum = heap[at.maximum + m]!;
      const old = heap[at.factors + m]!;
      const factor = maximum === old ? 1 : Math.exp(old - maximum);
      grown ||= factor !== 1;
      heap[at.factors + m] = factor;
      heap[at.normaliser + m]! *= factor;
    }
    heap.fill(1, at.factors + count, at.factors + countWidth);
    if (grown) kernels.scaleRows(at.sums, at.factors, countWidth, valueWidth);
    this.shiftByMaximum();
  }

  /** Makes `keyShift` and `queryShift` of the maxima. */
  shiftByMaximum(): void {
    const { heap, at, count, countWidth } = this;
    const { logWeight } = this.#features;
    for (let m = 0; m < count; m++) {
      const maximum = heap[at.maximum + m]!;
      heap[at.keyShift + m] = -maximum;
      heap[at.queryShift + m] = this.hasCore ? logWeight[m]! : logWeight[m]! + maximum;
    }
    // the columns that only fill up the width must not count as features
    heap.fill(-Infinity, at.keyShift + count, at.keyShift + countWidth);
    heap.fill(-Infinity, at.queryShift + count, at.queryShift + countWidth);
  }

  /** The first of the loaded keys after `first` whose log features exceed the maxima by more than the headroom. */
  endOfPiece(first: number, chunk: number): number {
    const { kernels, heap, at, count, countWidth } = this;
    const next = first + 1;
    if (this.#features.phase) {
      const limit = heap[at.maximum]! + HEADROOM;
      let row = next;
      while (row < chunk && !(heap[at.rowShift + row]! > limit)) row++;
      return row;
    }
    for (let m = 0; m < count; m++) heap[at.limit + m] = heap[at.maximum + m]! + HEADROOM;
    heap.fill(Infinity, at.limit + count, at.limit + countWidth);
    const block = at.keyFeatures + next * countWidth;
    return next + kernels.firstRowAbove(at.limit, block, at.rowShift + next, chunk - next, countWidth);
  }

  /** Turns rows `first`.. of the loaded keys into features, relative to the maxima. */
  finishKeys(first: number, rows: number): void {
    const { kernels, heap, at, count, countWidth } = this;
    const { elementwise, phase } = this.#features;
    const block = at.keyFeatures + first * countWidth;
    const rowShift = at.rowShift + first;
    if (elementwise) {
      applyElementwise(elementwise, heap, block, rowShift, rows, count);
    } else if (phase) {
      this.#applyWaves(block, rows);
      for (let row = rowShift; row < rowShift + rows; row++) heap[row] = Math.exp(heap[row]! + heap[at.keyShift]!);
      kernels.scaleRows(block, rowShift, rows, countWidth);
    } else {
      kernels.expRows(block, rowShift, at.keyShift, rows, countWidth);
    }
  }

  /** x = cos(x + phase) over a block `[rows, countWidth]`; the columns that only fill it up become 0. */
  #applyWaves(block: number, rows: number): void {
    const { kernels, heap, at, count, countWidth } = this;
    kernels.cosRows(block, at.phase, rows, countWidth);
    if (count === countWidth) return;
    for (let row = block; row < block + rows * countWidth; row += countWidth)
      heap.fill(0, row + count, row + countWidth);
  }

  /** S += phi(K)^T V, z += phi(K)^T 1, over rows `first`.. of the key features in `block`. */
  addToSums(block: number, first: number, rows: number): void {
    const { kernels, at, countWidth, valueWidth } = this;
    const features = block + first * countWidth;
    const values = at.values + first * valueWidth;
    kernels.matmulTransposed({
      out: at.sums,
      left: features,
      right: values,
      rows: countWidth,
      cols: valueWidth,
      depth: rows,
      leftRow: countWidth,
      accumulate: true,
    });
    kernels.columnSums(at.normaliser, features, rows, countWidth);
  }

  /** Loads rows from..to of a query head: `queryFeatures` gets the projected queries. */
  loadQueries(query: Float32Array, head: number, from: number, to: number): void {
    const { kernels, heap, at, attention, countWidth, dimWidth } = this;
    const { dim, queryRows } = attention;
    const { queryMean: mean } = this.#features;
    loadRows(heap, at.rows, { array: query, firstRow: head * queryRows, width: dim, mean }, from, to);
    const { queryFeatures, queryProjection } = at;
    const rows = to - from;
    kernels.matmul({
      out: queryFeatures,
      left: at.rows,
      right: queryProjection,
      rows,
      cols: countWidth,
      depth: dim,
      leftRow: dimWidth,
    });
  }

  /** Turns the loaded queries into features, relative to what the keys are held relative to. */
  finishQueries(rows: number): void {
    const { kernels, heap, at, countWidth } = this;
    const { elementwise, phase } = this.#features;
    const { queryFeatures, queryRowShift } = at;
    if (elementwise) {
      heap.fill(0, queryRowShift, queryRowShift + rows);
      applyElementwise(elementwise, heap, queryFeatures, queryRowShift, rows, this.count);
    } else if (phase) {
      this.#applyWaves(queryFeatures, rows);
    } else {
      heap.fill(NO_MAXIMUM, queryRowShift, queryRowShift + rows);
      kernels.rowMaximum(queryRowShift, queryFeatures, at.queryShift, rows, countWidth);
      for (let row = 0; row < rows; row++) heap[queryRowShift + row] = -heap[queryRowShift + row]!;
      kernels.expRows(queryFeatures, queryRowShift, at.queryShift, rows, countWidth);
    }
  }

  /** `out` = phi(Q) S and `divisor` = phi(Q) z, of the query features. */
  attendToSums(rows: number, sums: number, normaliser: number): void {
    const { kernels, heap, at, countWidth, valueWidth } = this;
    const { queryFeatures, out, divisor } = at;
    heap.fill(0, divisor, divisor + rows);
    kernels.rowDots(divisor, queryFeatures, normaliser, rows, countWidth);
    kernels.matmul({
      out,
      left: queryFeatures,
      right: sums,
      rows,
      cols: valueWidth,
      depth: countWidth,
      leftRow: countWidth,
    });
  }

  /** Divides `out` by `divisor` into rows from..to of a query head of the result. */
  store(result: Float32Array, head: number, from: number, to: number): void {
    const { kernels, heap, at, attention } = this;
    const { queryRows, valueDim } = attention;
    storeNormalised(kernels, heap, at.out, at.divisor, to - from, valueDim, result, head * queryRows + from);
  }
}

/** Where each block lies in the heap; sizes at {@link layOut}. */
export type WorkspaceBlocks = Readonly<
  Record<
    | "queryProjection"
    | "keyProjection"
    | "normMatrix"
    | "keyWeight"
    | "core"
    | "sums"
    | "normaliser"
    | "joinedSums"
    | "joinedNormaliser"
    | "maximum"
    | "limit"
    | "phase"
    | "factors"
    | "keyShift"
    | "queryShift"
    | "rows"
    | "normRows"
    | "values"
    | "keyFeatures"
    | "joinedFeatures"
    | "queryFeatures"
    | "keyFeaturesTransposed"
    | "scores"
    | "out"
    | "rowShift"
    | "queryRowShift"
    | "divisor"
    | "size",
    number
  >
>;

function layOut(
  layout: Layout,
  dimWidth: number,
  countWidth: number,
  valueWidth: number,
  hasCore: boolean,
): WorkspaceBlocks {
  return {
    /** `[dim, count]`: the projections, transposed. */
    queryProjection: layout.take(dimWidth, countWidth),
    keyProjection: layout.take(dimWidth, countWidth),
    normMatrix: layout.take(dimWidth, dimWidth),
    keyWeight: layout.take(1, dimWidth),
    /** `[count, count]`: C^T. */
    core: hasCore ? layout.take(countWidth, countWidth) : 0,
    /** `[count, valueDim]` and `[count]`: S and z; `joined...` the core times them. */
    sums: layout.take(countWidth, valueWidth),
    normaliser: layout.take(1, countWidth),
    joinedSums: hasCore ? layout.take(countWidth, valueWidth) : 0,
    joinedNormaliser: hasCore ? layout.take(1, countWidth) : 0,
    /** `[count]`. */
    maximum: layout.take(1, countWidth),
    limit: layout.take(1, countWidth),
    phase: layout.take(1, countWidth),
    factors: layout.take(1, countWidth),
    keyShift: layout.take(1, countWidth),
    queryShift: layout.take(1, countWidth),
    /** Tiles, `[TILE, ...]`. */
    rows: layout.take(TILE, dimWidth),
    normRows: layout.take(TILE, dimWidth),
    values: layout.take(TILE, valueWidth),
    keyFeatures: layout.take(TILE, countWidth),
    joinedFeatures: hasCore ? layout.take(TILE, countWidth) : 0,
    queryFeatures: layout.take(TILE, countWidth),
    /** `[count, TILE]`. */
    keyFeaturesTransposed: layout.take(countWidth, TILE),
    scores: layout.take(TILE, TILE),
    out: layout.take(TILE, valueWidth),
    rowShift: layout.take(1, TILE),
    queryRowShift: layout.take(1, TILE),
    divisor: layout.take(1, TILE),
    size: layout.size,
  };
}
