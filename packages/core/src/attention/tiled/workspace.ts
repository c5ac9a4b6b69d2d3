import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { FeatureMap32 } from "./features.ts";
import type { FeatureFamily, FeatureTile } from "./family.ts";
import { familyOf } from "./family-of.ts";
import type { HeadInputs } from "./head-inputs.ts";
import { layOutWorkspace } from "./workspace-blocks.ts";
import type { WorkspaceBlocks } from "./workspace-blocks.ts";
import { Layout, loadRows, NO_MAXIMUM, padded, storeNormalised } from "./rows.ts";
import type { ResolvedAttention } from "./rows.ts";

/**
 * The workspace of a float32 FAVOR computation, and the steps on its tiles; bidirectional and causal attention run them
 * in different orders. Its size does not depend on the length.
 *
 * Exponential features are stabilised one by one. Let c_m be the largest log phi_m of the keys so far. Keys are held as
 * phi_m exp(-c_m), and queries as phi_m exp(c_m) divided by the largest of their row. The product is unchanged, no
 * exponential exceeds 1 (or exp(HEADROOM), in causal attention), and every normaliser is at least about 1. With
 * a core, which mixes features, all c_m are equal. Trigonometric features share one c, the largest |k|^2/2. Elementwise
 * features are not rescaled.
 */
export class FavorWorkspace implements FeatureTile {
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
  #family!: FeatureFamily;

  /** `layout` holds the blocks that the caller has already taken. */
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
    this.at = layOutWorkspace(layout, this.dimWidth, this.countWidth, this.valueWidth, hasCore);
    this.heap = kernels.heap(this.at.size);
  }

  /** The family of the head's features. */
  get family(): FeatureFamily {
    return this.#family;
  }

  /** Loads a head's feature map and clears the sums and maxima over keys. */
  startHead(features: FeatureMap32): void {
    const { heap, at, countWidth, dimWidth } = this;
    const { dim, count } = features;
    if (features !== this.#features) {
      this.#features = features;
      this.#family = familyOf(features);
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
    heap.fill(this.#family.isRelative ? NO_MAXIMUM : Infinity, at.maximum, at.maximum + countWidth);
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
   * Loads keys and values from..to of a key head, or of its visible keys `rows`. Afterwards `keyFeatures` holds the
   * projected keys, and `rowShift` what the log features of each key have in common.
   */
  loadKeys({ key, value, keyHead }: HeadInputs, rows: Int32Array | undefined, from: number, to: number): void {
    const { kernels, heap, at, attention, countWidth, dimWidth } = this;
    const { dim, valueDim, logMask, keyRows } = attention;
    const { keyMean, keyWeight, normMatrix } = this.#features;
    const { normSign } = this.#family;
    const size = to - from;
    const firstRow = keyHead * keyRows;
    loadRows(heap, at.rows, { array: key, firstRow, width: dim, rows, mean: keyMean }, from, to);
    loadRows(heap, at.values, { array: value, firstRow, width: valueDim, rows }, from, to);
    if (logMask && !rows) this.#clearHidden(from, to);
    heap.fill(0, at.rowShift, at.rowShift + size);
    if (typeof normMatrix === "number") {
      if (normMatrix !== 0) kernels.subtractHalfNorms(at.rowShift, at.rows, size, dimWidth);
      for (let row = 0; row < size; row++) heap[at.rowShift + row]! *= -normSign * normMatrix ** 2;
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

  /** Zeroes hidden keys that keep their place, since they may contain NaN. */
  #clearHidden(from: number, to: number): void {
    const { heap, at, attention, dimWidth, valueWidth } = this;
    for (let row = from; row < to; row++) {
      if (attention.logMask![row] !== -Infinity) continue;
      const index = row - from;
      heap.fill(0, at.rows + index * dimWidth, at.rows + (index + 1) * dimWidth);
      heap.fill(0, at.values + index * valueWidth, at.values + (index + 1) * valueWidth);
    }
  }

  /** Raises the maxima to cover `rows` of the loaded keys from `first`, and rescales the sums where the maxima grow. */
  raiseMaximum(first: number, rows: number): void {
    const { kernels, heap, at, countWidth, count, valueWidth } = this;
    if (!this.#family.isRelative) return;
    heap.copyWithin(at.factors, at.maximum, at.maximum + countWidth);
    this.#family.raiseMaximum(this, first, rows);
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

  /** Derives `keyShift` and `queryShift` from the maxima. */
  shiftByMaximum(): void {
    const { heap, at, count, countWidth } = this;
    const { logWeight } = this.#features;
    for (let m = 0; m < count; m++) {
      const maximum = heap[at.maximum + m]!;
      heap[at.keyShift + m] = -maximum;
      heap[at.queryShift + m] = this.hasCore ? logWeight[m]! : logWeight[m]! + maximum;
    }
    // padding columns must not count as features
    heap.fill(-Infinity, at.keyShift + count, at.keyShift + countWidth);
    heap.fill(-Infinity, at.queryShift + count, at.queryShift + countWidth);
  }

  /** The first of the loaded keys after `first` whose log features exceed the maxima by more than the headroom. */
  endOfPiece(first: number, chunk: number): number {
    return this.#family.endOfPiece(this, first, chunk);
  }

  /** Turns rows `first`.. of the loaded keys into features, relative to the maxima. */
  finishKeys(first: number, rows: number): void {
    this.#family.finishKeys(this, first, rows);
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

  /** Turns the loaded queries into features, relative to the maxima of the keys. */
  finishQueries(rows: number): void {
    this.#family.finishQueries(this, rows);
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
