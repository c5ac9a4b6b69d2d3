import type { BlockKernels } from "../../kernels/block-kernels.ts";
import type { FeatureMap32 } from "./features.ts";
import { differentiateNormaliser, loadUpstream } from "./gradient-rows.ts";
import type { AttentionGradients32 } from "./gradient-rows.ts";
import { Layout, padded, storeRows, TILE } from "./rows.ts";
import type { ResolvedAttention } from "./rows.ts";
import { FavorWorkspace } from "./workspace.ts";

/**
 * The steps of the backward pass on the tiles of a {@link FavorWorkspace}; bidirectional and causal attention run them
 * in different orders. With G_i = g_i / n_i and h_i = -G_i.out_i, the gradient of the unnormalised row [phi_q S, phi_q
 * z]:
 *
 *     d phi_q = S G + z h        R = sum_i phi_q G^T, r = sum_i phi_q h        d phi_k = R v + r        d v = R^T phi_k
 *
 * What features are held relative to cancels in all four.
 */
export class FavorGradients {
  readonly workspace: FavorWorkspace;
  readonly at: GradientBlocks;
  readonly gradients: AttentionGradients32;
  #features!: FeatureMap32;

  /** `layout` holds the blocks that the caller has already taken. */
  constructor(
    kernels: BlockKernels,
    attention: ResolvedAttention,
    count: number,
    hasCore: boolean,
    layout: Layout = new Layout(),
  ) {
    const { heads, keyHeads, queryRows, keyRows, dim, valueDim } = attention;
    this.at = layOut(layout, padded(dim), padded(count), padded(valueDim), hasCore);
    this.workspace = new FavorWorkspace(kernels, attention, count, hasCore, layout);
    this.gradients = {
      query: new Float32Array(heads * queryRows * dim),
      key: new Float32Array(keyHeads * keyRows * dim),
      value: new Float32Array(keyHeads * keyRows * valueDim),
    };
  }

  /** Loads a head's feature map and clears the sums over queries. */
  startHead(features: FeatureMap32): void {
    const { at, workspace } = this;
    const { heap, countWidth, dimWidth, valueWidth } = workspace;
    const { dim, count } = features;
    workspace.startHead(features);
    if (features !== this.#features) {
      this.#features = features;
      this.#load(at.queryProjection, features.queryProjection, count, dim, countWidth);
      this.#load(at.keyProjection, features.keyProjection, count, dim, countWidth);
      if (typeof features.normMatrix !== "number") this.#load(at.normMatrix, features.normMatrix, dim, dim, dimWidth);
      if (features.core) this.#load(at.core, features.core, count, count, countWidth);
      heap.fill(0, at.slopePhase, at.slopePhase + countWidth);
      if (features.phase)
        heap.set(
          features.phase.map((x) => x + Math.PI / 2),
          at.slopePhase,
        ); // -sin x = cos(x + pi/2)
    }
    heap.fill(1, at.ones, at.ones + Math.max(TILE, countWidth));
    heap.fill(0, at.sums, at.sums + countWidth * valueWidth);
    heap.fill(0, at.normaliser, at.normaliser + countWidth);
  }

  /** matrix `[rows, cols]` into a block `[paddedRows, padded(cols)]`. */
  #load(block: number, matrix: Float64Array, rows: number, cols: number, paddedRows: number): void {
    const { heap } = this.workspace;
    const width = padded(cols);
    heap.fill(0, block, block + paddedRows * width);
    for (let r = 0; r < rows; r++) heap.set(matrix.subarray(r * cols, (r + 1) * cols), block + r * width);
  }

  /** Loads queries and computes their features, keeping the derivatives of the features. */
  makeQueries(query: Float32Array, head: number, from: number, to: number): void {
    const { workspace } = this;
    workspace.loadQueries(query, head, from, to);
    this.#keepProjected(workspace.at.queryFeatures, to - from);
    workspace.finishQueries(to - from);
    this.#makeSlopes(workspace.at.queryRowShift, to - from);
  }

  /** Computes the features of all loaded keys, keeping the derivatives of the features and the keys. */
  makeKeys(rows: number): void {
    const { workspace, at } = this;
    const { heap, dimWidth } = workspace;
    heap.copyWithin(at.keys, workspace.at.rows, workspace.at.rows + rows * dimWidth);
    this.#keepProjected(workspace.at.keyFeatures, rows);
    workspace.finishKeys(0, rows);
    this.#makeSlopes(workspace.at.rowShift, rows);
  }

  /** The slopes are taken of the projected rows, which the features overwrite. */
  #keepProjected(block: number, rows: number): void {
    const { heap, countWidth, family } = this.workspace;
    if (!family.isOwnDerivative) heap.copyWithin(this.at.slopes, block, block + rows * countWidth);
  }

  /** d phi / d(projection x) from the projected rows; `rowShift` holds what making the features left there. */
  #makeSlopes(rowShift: number, rows: number): void {
    this.workspace.family.makeSlopes(this.workspace, this.at.slopes, this.at.slopePhase, rowShift, rows);
  }

  /** G and h of rows from..to of a query head, from the workspace's `out` and `divisor`, which becomes 1 / n. */
  differentiateRows(gradient: Float32Array, head: number, from: number, to: number): void {
    const { heap, at, attention } = this.workspace;
    const { queryRows, valueDim } = attention;
    const blocks = { out: at.out, divisor: at.divisor, upstream: this.at.upstream, inner: this.at.inner };
    differentiateNormaliser(heap, blocks, gradient, head * queryRows + from, to - from, valueDim);
  }

  /** Recomputes G for rows from..to of a query head; `divisor` holds 1 / n. */
  loadRows(gradient: Float32Array, head: number, from: number, to: number): void {
    const { heap, at, attention } = this.workspace;
    const { queryRows, valueDim } = attention;
    const blocks = { divisor: at.divisor, upstream: this.at.upstream };
    loadUpstream(heap, blocks, gradient, head * queryRows + from, to - from, valueDim);
  }

  /** `sumsTransposed` = the transpose of sums `[count, valueDim]`. */
  transposeSums(sums: number): void {
    const { kernels, countWidth, valueWidth } = this.workspace;
    kernels.transpose(this.at.sumsTransposed, sums, countWidth, valueWidth, countWidth, valueWidth);
  }

  /** d phi_q = S G + z h, with S as {@link transposeSums} left it. */
  differentiateQueries(rows: number, normaliser: number): void {
    const { upstream, inner } = this.at;
    this.#throughSums(upstream, inner, normaliser, rows);
  }

  /** d phi_k = R v + r, with R as {@link transposeSums} left it, of the values at `values`. */
  differentiateKeys(rows: number, values: number, normaliser: number): void {
    this.#throughSums(values, this.at.ones, normaliser, rows);
  }

  #throughSums(left: number, weights: number, normaliser: number, rows: number): void {
    const { kernels, attention, countWidth: count, valueWidth } = this.workspace;
    const { featureGradient, sumsTransposed } = this.at;
    const depth = attention.valueDim;
    kernels.matmul({
      out: featureGradient,
      left,
      right: sumsTransposed,
      rows,
      cols: count,
      depth,
      leftRow: valueWidth,
    });
    kernels.matmul({
      out: featureGradient,
      left: weights,
      right: normaliser,
      rows,
      cols: count,
      depth: 1,
      leftRow: 1,
      accumulate: true,
    });
  }

  /** d v = R^T phi_k, of the features (with the core applied) in a block. */
  differentiateValues(features: number, rows: number, sums: number): void {
    const { kernels, countWidth: count, valueWidth: width } = this.workspace;
    kernels.matmul({
      out: this.at.valueGradient,
      left: features,
      right: sums,
      rows,
      cols: width,
      depth: count,
      leftRow: count,
    });
  }

  /** R += phi_q G^T, r += phi_q h. */
  addToSums(rows: number): void {
    const { kernels, at, countWidth: count, valueWidth: width } = this.workspace;
    const { sums, normaliser, upstream, inner } = this.at;
    kernels.matmulTransposed({
      out: sums,
      left: at.queryFeatures,
      right: upstream,
      rows: count,
      cols: width,
      depth: rows,
      leftRow: count,
      accumulate: true,
    });
    kernels.matmul({
      out: normaliser,
      left: inner,
      right: at.queryFeatures,
      rows: 1,
      cols: count,
      depth: rows,
      leftRow: rows,
      accumulate: true,
    });
  }

  /** Carries d phi_q back to the queries, and stores rows from..to of a query head. */
  storeQueries(head: number, from: number, to: number): void {
    const { heap, at, attention } = this.workspace;
    const { dim, queryRows } = attention;
    this.#throughProjection(at.queryFeatures, this.at.queryProjection, to - from);
    const target = { array: this.gradients.query, firstRow: head * queryRows, width: dim };
    storeRows(heap, this.at.rowGradient, target, from, to);
  }

  /** `rowGradient` = (d phi * slopes) projection, where the slopes of an exponential are its features. */
  #throughProjection(features: number, projection: number, rows: number): void {
    const { kernels, countWidth: count, dimWidth: width, family } = this.workspace;
    const { featureGradient, slopes, rowGradient } = this.at;
    kernels.multiply(featureGradient, family.isOwnDerivative ? features : slopes, rows, count);
    kernels.matmul({
      out: rowGradient,
      left: featureGradient,
      right: projection,
      rows,
      cols: width,
      depth: count,
      leftRow: count,
    });
  }

  /** Carries d phi_k (before the core) and d v back to rows from..to of a key head, or of its visible keys `rows`. */
  storeKeys(keyHead: number, rows: Int32Array | undefined, from: number, to: number): void {
    const { kernels, heap, at, attention, countWidth, dimWidth, family } = this.workspace;
    const { dim, keyRows, valueDim } = attention;
    const { featureGradient, products, rowSums, rowGradient, keys, ones, normGradient } = this.at;
    const { keyWeight, normMatrix } = this.#features;
    const size = to - from;
    // t_j = sum_m phi_m d phi_m: the derivative along what all of a key's log features have in common
    heap.copyWithin(products, featureGradient, featureGradient + size * countWidth);
    kernels.multiply(products, at.keyFeatures, size, countWidth);
    heap.fill(0, rowSums, rowSums + size);
    kernels.rowDots(rowSums, products, ones, size, countWidth);
    this.#throughProjection(at.keyFeatures, this.at.keyProjection, size);
    const wholeMatrix = typeof normMatrix !== "number";
    if (wholeMatrix) {
      kernels.matmul({
        out: normGradient,
        left: at.normRows,
        right: this.at.normMatrix,
        rows: size,
        cols: dimWidth,
        depth: dim,
        leftRow: dimWidth,
      });
    }
    const factor = wholeMatrix ? -1 : family.normSign * normMatrix ** 2;
    const norms = wholeMatrix ? normGradient : keys;
    // an elementwise feature has no such part
    if (family.isRelative) {
      for (let row = 0; row < size; row++) {
        const sum = heap[rowSums + row]!;
        const start = row * dimWidth;
        for (let l = 0; l < dim; l++) {
          heap[rowGradient + start + l]! += sum * ((keyWeight?.[l] ?? 0) + factor * heap[norms + start + l]!);
        }
      }
    }
    const firstRow = keyHead * keyRows;
    storeRows(heap, rowGradient, { array: this.gradients.key, firstRow, width: dim, rows }, from, to);
    storeRows(heap, this.at.valueGradient, { array: this.gradients.value, firstRow, width: valueDim, rows }, from, to);
  }
}

/** Where each block lies in the heap; sizes at {@link layOut}. */
export type GradientBlocks = Readonly<
  Record<
    | "queryProjection"
    | "keyProjection"
    | "normMatrix"
    | "core"
    | "slopePhase"
    | "ones"
    | "sums"
    | "normaliser"
    | "joinedSums"
    | "joinedNormaliser"
    | "sumsTransposed"
    | "upstream"
    | "inner"
    | "featureGradient"
    | "products"
    | "slopes"
    | "valueGradient"
    | "rowGradient"
    | "normGradient"
    | "keys"
    | "rowSums"
    | "valuesTransposed"
    | "scoreGradient",
    number
  >
>;

function layOut(
  layout: Layout,
  dimWidth: number,
  countWidth: number,
  valueWidth: number,
  hasCore: boolean,
): GradientBlocks {
  return {
    /** `[count, dim]`, `[dim, dim]` and `[count, count]`, not transposed. */
    queryProjection: layout.take(countWidth, dimWidth),
    keyProjection: layout.take(countWidth, dimWidth),
    normMatrix: layout.take(dimWidth, dimWidth),
    core: hasCore ? layout.take(countWidth, countWidth) : 0,
    slopePhase: layout.take(1, countWidth),
    ones: layout.take(1, Math.max(TILE, countWidth)),
    /** `[count, valueDim]` and `[count]`: R and r; `joined...` the transposed core times them. */
    sums: layout.take(countWidth, valueWidth),
    normaliser: layout.take(1, countWidth),
    joinedSums: hasCore ? layout.take(countWidth, valueWidth) : 0,
    joinedNormaliser: hasCore ? layout.take(1, countWidth) : 0,
    /** `[valueDim, count]`. */
    sumsTransposed: layout.take(valueWidth, countWidth),
    /** Tiles, `[TILE, ...]`: G and h, d phi, d v, d x. */
    upstream: layout.take(TILE, valueWidth),
    inner: layout.take(1, TILE),
    featureGradient: layout.take(TILE, countWidth),
    products: layout.take(TILE, countWidth),
    slopes: layout.take(TILE, countWidth),
    valueGradient: layout.take(TILE, valueWidth),
    rowGradient: layout.take(TILE, dimWidth),
    normGradient: layout.take(TILE, dimWidth),
    keys: layout.take(TILE, dimWidth),
    rowSums: layout.take(1, TILE),
    /** `[valueDim, TILE]`, and a chunk's `[TILE, TILE]`. */
    valuesTransposed: layout.take(valueWidth, TILE),
    scoreGradient: layout.take(TILE, TILE),
  };
}
