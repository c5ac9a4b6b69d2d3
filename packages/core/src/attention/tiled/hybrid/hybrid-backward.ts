import { requireLayout } from "../../../checks.ts";
import { requireKernels } from "../../../kernels/block-kernels.ts";
import type { BlockKernels } from "../../../kernels/block-kernels.ts";
import { differentiateCore } from "../causal-backward.ts";
import { joinFeatures } from "../causal.ts";
import { favorAttentionBackward32 } from "../favor-backward.ts";
import type { FeatureMap32 } from "../features.ts";
import type { AttentionGradients32 } from "../gradient-rows.ts";
import { FavorGradients } from "../gradients.ts";
import type { HeadInputs } from "../head-inputs.ts";
import { Layout, padded, TILE } from "../rows.ts";
import type { AttentionShape } from "../rows.ts";
import { blockWidth, loadKeyBlocks } from "./blocks.ts";
import { prepareChoice } from "./choose.ts";
import { HybridWorkspace, resolveHybrid } from "./workspace.ts";
import type { BlockPlan, HybridCall, HybridOptions32 } from "./workspace.ts";

/**
 * Backward pass of `hybridAttention32`: through the exact weights, the features, and the factor of the estimate that
 * depends on the query alone, which does not cancel next to exact keys. With G_i = g_i / n_i, h_i = -G_i.out_i and the
 * weight w_ij of an exact key,
 *
 *     d s_ij = w_ij (G_i.v_j + h_i)        d phi_q = S G + z h        d log factor_i = sum_m phi_q,m d phi_q,m
 *
 * No gradient goes through the choice of blocks, which is made again as in the forward pass. Weights are recomputed tile
 * by tile. Besides the gradients it holds one head's keys, values and their gradients, and the sums per block of keys
 * twice.
 *
 * Hidden keys, and queries that see no key, have gradient 0.
 *
 * @param gradient Gradient of the loss with respect to the output, `[heads, queryRows, valueDim]`.
 * @param options As in the forward pass.
 * @returns query `[heads, queryRows, dim]`, key `[keyHeads, keyRows, dim]` and value `[keyHeads, keyRows, valueDim]`,
 * the last two summed over the query heads that share a key head.
 * @throws ArgumentError if the arrays, features or options do not fit, or the features are not exponential.
 */
export function hybridAttentionBackward32(
  kernels: BlockKernels,
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  features: FeatureMap32 | readonly FeatureMap32[] | undefined,
  gradient: Float32Array,
  options: HybridOptions32,
): AttentionGradients32 {
  requireKernels(kernels);
  const call = resolveHybrid(query, key, value, shape, features, options);
  const { attention, exact } = call;
  const { heads, keyHeads, queryRows, valueDim } = attention;
  requireLayout("gradient", gradient, "[heads, queryRows, valueDim]", heads * queryRows * valueDim);
  if (exact.window === 0) {
    return favorAttentionBackward32(kernels, query, key, value, shape, call.features, gradient, call.mask);
  }
  const gradients = new HybridGradients(kernels, call);
  for (let keyHead = 0; keyHead < keyHeads; keyHead++) {
    const hasCore = call.features[keyHead]!.core !== undefined;
    gradients.differentiateHead({ query, key, value, keyHead, hasCore }, gradient);
  }
  return gradients.steps.gradients;
}

/** The steps of the backward pass for one key head. */
class HybridGradients {
  readonly steps: FavorGradients;
  readonly #hybrid: HybridWorkspace;
  readonly #at: ReturnType<typeof layOut>;
  readonly #scratch: number;

  constructor(kernels: BlockKernels, call: HybridCall) {
    const { attention, features } = call;
    const layout = new Layout();
    const at = HybridWorkspace.layOut(layout, call, true);
    this.#at = layOut(layout, call, at.blocks.columns);
    this.#scratch = at.scratch;
    const hasCore = features.some(({ core }) => core !== undefined);
    this.steps = new FavorGradients(kernels, attention, features[0]!.count, hasCore, layout);
    this.#hybrid = new HybridWorkspace(call, at, this.steps.workspace);
  }

  differentiateHead(inputs: HeadInputs, gradient: Float32Array): void {
    const { steps } = this;
    const hybrid = this.#hybrid;
    const { call, exact } = hybrid;
    const { queryRows, group } = hybrid.attention;
    const { query, key, keyHead } = inputs;
    steps.startHead(call.features[keyHead]!);
    hybrid.startHead(inputs);
    hybrid.sums.clearGradients();
    this.#loadKeys(inputs);
    const choose = prepareChoice(hybrid, key, keyHead, call.scale, call.selectors[keyHead]!);
    for (let head = keyHead * group; head < (keyHead + 1) * group; head++) {
      for (const [block, chosen] of choose(query, head).entries()) {
        const plan = hybrid.plan(block, chosen);
        this.#startBlock(plan);
        const end = Math.min(queryRows, (block + 1) * exact.window);
        for (let start = block * exact.window; start < end; start += TILE) {
          this.#differentiateTile(query, gradient, head, start, Math.min(end, start + TILE), plan);
        }
        if (plan.nodes.length > 0) hybrid.sums.addGradient(plan.nodes, steps.at.sums, steps.at.normaliser);
      }
    }
    if (call.hasFarField) this.#differentiateFarKeys(inputs);
    this.#addExactKeys(keyHead);
  }

  /** Loads keys and values as the forward pass does, and also the other way round; clears their gradients. */
  #loadKeys({ key, value, keyHead }: HeadInputs): void {
    const { kernels, heap, exact, at, attention, call } = this.#hybrid;
    const { dim } = attention;
    const own = this.#at;
    const { dimWidth, valueWidth } = this.steps.workspace;
    const width = blockWidth(exact);
    const blocks = exact.keyBlocks + 1;
    loadKeyBlocks(this.#hybrid, key, value, keyHead, this.#scratch, (block) => {
      heap.copyWithin(own.keys + block * width * dimWidth, this.#scratch, this.#scratch + width * dimWidth);
      const values = at.values + block * width * valueWidth;
      kernels.transpose(
        own.valuesTransposed + block * width * valueWidth,
        values,
        width,
        valueWidth,
        width,
        valueWidth,
      );
    });
    heap.fill(0, own.keyGradient, own.keyGradient + blocks * width * dimWidth);
    heap.fill(0, own.valueGradient, own.valueGradient + blocks * width * valueWidth);
    const { normMatrix } = call.features[keyHead]!.queryFactor!;
    if (!normMatrix) return;
    heap.fill(0, own.queryNormMatrix, own.queryNormMatrix + dimWidth * dimWidth);
    for (let r = 0; r < dim; r++) {
      heap.set(normMatrix.subarray(r * dim, (r + 1) * dim), own.queryNormMatrix + r * dimWidth);
    }
  }

  #startBlock(plan: BlockPlan): void {
    if (plan.nodes.length === 0) return;
    const { heap, countWidth, valueWidth, at } = this.steps.workspace;
    const { sums, normaliser } = this.steps.at;
    this.#hybrid.loadFarField(plan);
    this.steps.transposeSums(at.sums);
    heap.fill(0, sums, sums + countWidth * valueWidth);
    heap.fill(0, normaliser, normaliser + countWidth);
  }

  #differentiateTile(
    query: Float32Array,
    gradient: Float32Array,
    head: number,
    from: number,
    to: number,
    plan: BlockPlan,
  ): void {
    const { steps } = this;
    this.#hybrid.attend(query, head, from, to, plan);
    steps.differentiateRows(gradient, head, from, to);
    this.#differentiateExact(to - from, plan);
    if (plan.nodes.length > 0) this.#differentiateFar(head, from, to);
    const { heap, attention, call } = this.#hybrid;
    const { dim, queryRows } = attention;
    const { dimWidth } = steps.workspace;
    const out = steps.gradients.query;
    for (let row = from; row < to; row++) {
      const source = this.#at.queryGradient + (row - from) * dimWidth;
      const target = (head * queryRows + row) * dim;
      for (let l = 0; l < dim; l++) out[target + l]! += call.scale * heap[source + l]!;
    }
  }

  /** `queryGradient`, and this tile's share of the gradients of exact keys and values. */
  #differentiateExact(rows: number, { slots, columns }: BlockPlan): void {
    const { kernels, heap, at, exact, attention } = this.#hybrid;
    const { dimWidth, valueWidth } = this.steps.workspace;
    const { upstream, inner } = this.steps.at;
    const { scoreGradient, queryGradient, keys, keyGradient, valueGradient, valuesTransposed } = this.#at;
    const width = blockWidth(exact);
    heap.fill(0, queryGradient, queryGradient + rows * dimWidth);
    if (columns === 0) return;
    for (const { block, column, width: cols } of slots) {
      kernels.matmul({
        out: scoreGradient + column,
        left: upstream,
        right: valuesTransposed + block * width * valueWidth,
        rows,
        cols,
        depth: attention.valueDim,
        leftRow: valueWidth,
        rightRow: width,
        outRow: columns,
      });
    }
    kernels.matmul({
      out: scoreGradient,
      left: inner,
      right: at.ones,
      rows,
      cols: columns,
      depth: 1,
      leftRow: 1,
      accumulate: true,
    });
    kernels.multiply(scoreGradient, at.scores, rows, columns);
    for (const { block, column, width: cols } of slots) {
      const offset = block * width;
      const left = { depth: rows, rows: cols, leftRow: columns, accumulate: true };
      kernels.matmulTransposed({
        ...left,
        out: valueGradient + offset * valueWidth,
        left: at.scores + column,
        right: upstream,
        cols: valueWidth,
      });
      kernels.matmulTransposed({
        ...left,
        out: keyGradient + offset * dimWidth,
        left: scoreGradient + column,
        right: at.queries,
        cols: dimWidth,
      });
      kernels.matmul({
        out: queryGradient,
        left: scoreGradient + column,
        right: keys + offset * dimWidth,
        rows,
        cols: dimWidth,
        depth: cols,
        leftRow: columns,
        accumulate: true,
      });
    }
  }

  /** Stores the gradient of the queries through their features and the factor, and adds to that of the sums. */
  #differentiateFar(head: number, from: number, to: number): void {
    const { steps } = this;
    const { kernels, heap, at, attention } = this.#hybrid;
    const { countWidth, dimWidth, valueWidth, at: favor } = steps.workspace;
    const { upstream, inner, featureGradient, rowSums, ones, normGradient } = steps.at;
    const { dim, queryRows } = attention;
    const rows = to - from;
    kernels.scaleRows(upstream, at.factors, rows, valueWidth);
    for (let row = 0; row < rows; row++) heap[inner + row]! *= heap[at.factors + row]!;
    steps.differentiateQueries(rows, favor.normaliser);
    steps.addToSums(rows);
    steps.storeQueries(head, from, to);
    // the features' gradients times the features are left in `featureGradient`
    heap.fill(0, rowSums, rowSums + rows);
    kernels.rowDots(rowSums, featureGradient, ones, rows, countWidth);
    const hasNorm = this.#hybrid.features.queryFactor!.normMatrix !== undefined;
    if (hasNorm) {
      kernels.matmul({
        out: normGradient,
        left: favor.normRows,
        right: this.#at.queryNormMatrix,
        rows,
        cols: dimWidth,
        depth: dim,
        leftRow: dimWidth,
      });
    }
    const out = steps.gradients.query;
    for (let row = 0; row < rows; row++) {
      const sum = heap[rowSums + row]!;
      const target = (head * queryRows + from + row) * dim;
      for (let l = 0; l < dim; l++) {
        const norm = hasNorm ? heap[normGradient + row * dimWidth + l]! : 0;
        out[target + l]! += sum * (heap[at.queryWeight + l]! - norm);
      }
    }
  }

  /** The gradients of keys and values through the sums of their blocks. */
  #differentiateFarKeys(inputs: HeadInputs): void {
    const { steps } = this;
    const { sums, exact, attention } = this.#hybrid;
    const { workspace, at } = steps;
    const { keyRows } = attention;
    sums.spreadGradients();
    for (let block = 0; block < exact.keyBlocks; block++) {
      sums.loadMaximum(block);
      sums.loadGradient(block, at.sums, at.normaliser);
      workspace.shiftByMaximum();
      steps.transposeSums(at.sums);
      const end = Math.min(keyRows, (block + 1) * exact.window);
      for (let start = block * exact.window; start < end; start += TILE) {
        const to = Math.min(end, start + TILE);
        workspace.loadKeys(inputs, undefined, start, to);
        steps.makeKeys(to - start);
        const features = inputs.hasCore ? joinFeatures(workspace, 0, to - start) : workspace.at.keyFeatures;
        steps.differentiateKeys(to - start, workspace.at.values, at.normaliser);
        steps.differentiateValues(features, to - start, at.sums);
        if (inputs.hasCore) differentiateCore(steps, to - start);
        steps.storeKeys(inputs.keyHead, undefined, start, to);
      }
    }
  }

  /** Adds the gradients of the exact keys and values of a head to those through features. */
  #addExactKeys(keyHead: number): void {
    const { exact, attention } = this.#hybrid;
    const { keyRows } = attention;
    const { key, value } = this.steps.gradients;
    const width = blockWidth(exact);
    for (let block = 0; block <= exact.keyBlocks; block++) {
      const isFirst = block === exact.keyBlocks;
      if (isFirst && exact.first < 0) continue;
      const from = isFirst ? exact.first : block * exact.window;
      const to = isFirst ? from + 1 : Math.min(keyRows, from + exact.window);
      const row = keyHead * keyRows + from;
      this.#addRows(key, this.#at.keyGradient + block * width * padded(attention.dim), attention.dim, row, to - from);
      const values = this.#at.valueGradient + block * width * padded(attention.valueDim);
      this.#addRows(value, values, attention.valueDim, row, to - from);
    }
  }

  #addRows(out: Float32Array, block: number, width: number, firstRow: number, rows: number): void {
    const { heap } = this.#hybrid;
    for (let row = 0; row < rows; row++) {
      for (let l = 0; l < width; l++) out[(firstRow + row) * width + l]! += heap[block + row * padded(width) + l]!;
    }
  }
}

function layOut(layout: Layout, { attention, exact }: HybridCall, columns: number) {
  const [dimWidth, valueWidth] = [padded(attention.dim), padded(attention.valueDim)];
  const keys = (exact.keyBlocks + 1) * blockWidth(exact);
  return {
    /** `[blocks, width, ...]`: K, dK and dV; V^T of each block `[padded(valueDim), width]`. */
    keys: layout.take(keys, dimWidth),
    keyGradient: layout.take(keys, dimWidth),
    valueGradient: layout.take(keys, valueWidth),
    valuesTransposed: layout.take(keys, valueWidth),
    /** Tiles, `[TILE, ...]`. */
    scoreGradient: layout.take(TILE, columns),
    queryGradient: layout.take(TILE, dimWidth),
    /** `[dim, dim]`, not transposed. */
    queryNormMatrix: layout.take(dimWidth, dimWidth),
  };
}
