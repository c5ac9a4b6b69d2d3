import { requirePositive } from "../../../checks.ts";
import { ArgumentError } from "../../../errors.ts";
import type { BlockKernels } from "../../../kernels/block-kernels.ts";
import { exactKeyNames, nearBlocks, resolveExactKeys } from "../../hybrid/exact-keys.ts";
import type { ExactKeys, ExactKeysOptions } from "../../hybrid/exact-keys.ts";
import { averagedQueries } from "../../hybrid/selector.ts";
import type { BlockSelector } from "../../hybrid/selector.ts";
import { joinFeatures } from "../causal.ts";
import { featuresByHead } from "../features.ts";
import type { FeatureMap32 } from "../features.ts";
import type { HeadInputs } from "../head-inputs.ts";
import { loadRows, maskNames, NO_MAXIMUM, padded, resolveAttention, TILE } from "../rows.ts";
import type { AttentionShape, Layout, MaskOptions, ResolvedAttention } from "../rows.ts";
import type { FavorWorkspace } from "../workspace.ts";
import { BlockSums } from "./block-sums.ts";
import type { BlockSumsLayout } from "./block-sums.ts";
import { blockWidth, FIRST_WIDTH, layOutHybrid } from "./blocks.ts";
import type { HybridBlocks } from "./blocks.ts";
import { requireOptions } from "../../../options.ts";
import type { OptionNames } from "../../../options.ts";

export interface HybridOptions32 extends MaskOptions, Omit<ExactKeysOptions, "selector"> {
  /** What chooses blocks: one selector for all heads, or one per key head. Default `averagedQueries()`. */
  readonly selector?: BlockSelector | readonly BlockSelector[];
  /**
   * Multiplies q.k of the exact keys. The features must have been prepared with the same scale. Default 1, the convention of
   * the README (Scale).
   */
  readonly scale?: number;
}

const names: OptionNames<HybridOptions32> = { ...exactKeyNames, ...maskNames, scale: true };

/** A call's arguments, checked and with their defaults. */
export interface HybridCall {
  /** The first key is hidden in its mask, and hidden keys keep their place. */
  readonly attention: ResolvedAttention;
  readonly exact: ExactKeys;
  /** What plain FAVOR takes of the options. */
  readonly mask: MaskOptions;
  /** One per key head. */
  readonly selectors: readonly BlockSelector[];
  readonly scale: number;
  /** One per key head; a stand-in that is never used if the far field is dropped. */
  readonly features: readonly FeatureMap32[];
  readonly hasFarField: boolean;
  readonly firstLog: number;
}

/** @throws ArgumentError if the arrays, features or options do not fit. */
export function resolveHybrid(
  query: Float32Array,
  key: Float32Array,
  value: Float32Array,
  shape: AttentionShape,
  features: FeatureMap32 | readonly FeatureMap32[] | undefined,
  options: HybridOptions32,
): HybridCall {
  requireOptions("options", options, names, "{ window: 32, chosenBlocks: 8 }");
  const resolved = resolveAttention(query, key, value, shape, options);
  const { keyHeads, queryRows, keyRows, dim } = resolved;
  const { scale = 1, keyMask, selector = averagedQueries(), ...others } = options;
  requirePositive("options.scale", scale);
  const selectors = "prepare" in selector ? Array.from({ length: keyHeads }, () => selector) : selector;
  if (selectors.length !== keyHeads) {
    throw new ArgumentError("options.selector", `one selector, or ${keyHeads} (one per key head)`, selectors.length);
  }
  const exact = resolveExactKeys(others, { queries: queryRows, keys: keyRows }, keyMask, resolved.causal);
  if (features === undefined && !exact.near && exact.chosenBlocks === 0) {
    throw new ArgumentError("features", "a feature map, because no key is exact", features);
  }
  const maps = featuresByHead(features ?? standIn(dim), keyHeads, dim);
  const unscaled = maps.findIndex(({ queryFactor }) => queryFactor === undefined);
  if (unscaled >= 0) {
    throw new ArgumentError(`features[${unscaled}]`, "exponential features, from exponentialFeatures32", "others");
  }
  const first = exact.first;
  const logMask = first < 0 ? resolved.logMask : (resolved.logMask?.slice() ?? new Float32Array(keyRows));
  const firstLog = logMask?.[first] ?? 0;
  if (logMask && first >= 0) logMask[first] = -Infinity;
  return {
    attention: { ...resolved, visible: undefined, logMask },
    exact,
    mask: { causal: resolved.causal, ...(keyMask && { keyMask }) },
    selectors,
    scale,
    features: maps,
    hasFarField: features !== undefined,
    firstLog,
  };
}

/** A map that is never used, so that attention without a far field takes the same path. */
function standIn(dim: number): FeatureMap32 {
  const projection = new Float64Array(dim);
  return {
    dim,
    count: 1,
    queryMean: undefined,
    keyMean: undefined,
    queryProjection: projection,
    keyProjection: projection,
    logWeight: new Float64Array(1),
    keyWeight: undefined,
    normMatrix: 0,
    core: undefined,
    queryFactor: { constant: 0, weight: projection, normMatrix: undefined },
  };
}

/** A block that is exact for a block of queries, and where its columns begin in a row of scores. */
interface Slot {
  /** The block's number; that after the last holds the first key. */
  readonly block: number;
  readonly column: number;
  readonly width: number;
}

/** What a block of queries attends to. */
export interface BlockPlan {
  readonly block: number;
  readonly slots: readonly Slot[];
  /** The width of a row of scores. */
  readonly columns: number;
  /** Nodes of {@link BlockSums} that make up the far field. */
  readonly nodes: readonly number[];
}

/** Where the parts of a {@link HybridWorkspace} lie in the heap. */
export interface HybridLayout {
  readonly blocks: HybridBlocks;
  readonly sums: BlockSumsLayout;
  /** `[width, padded(dim)]`, to load a block of keys in. */
  readonly scratch: number;
}

/** The workspace of a float32 hybrid attention, and its steps on a tile of queries. */
export class HybridWorkspace {
  readonly call: HybridCall;
  readonly kernels: BlockKernels;
  readonly heap: Float32Array;
  readonly attention: ResolvedAttention;
  readonly exact: ExactKeys;
  readonly firstLog: number;
  readonly at: HybridBlocks;
  readonly favor: FavorWorkspace;
  readonly sums: BlockSums;
  #features!: FeatureMap32;

  /** Takes the memory of the parts that are not the FAVOR workspace's. */
  static layOut(layout: Layout, { attention, exact, features }: HybridCall, differentiated: boolean): HybridLayout {
    const { dim, valueDim } = attention;
    const widths = { countWidth: padded(features[0]!.count), valueWidth: padded(valueDim) };
    return {
      blocks: layOutHybrid(layout, dim, valueDim, exact),
      sums: BlockSums.layOut(layout, exact.keyBlocks, widths, differentiated),
      scratch: layout.take(blockWidth(exact), padded(dim)),
    };
  }

  /** `favor` must have been made on the layout that `at` is from. */
  constructor(call: HybridCall, at: HybridLayout, favor: FavorWorkspace) {
    this.call = call;
    this.kernels = favor.kernels;
    this.heap = favor.heap;
    this.attention = call.attention;
    this.exact = call.exact;
    this.firstLog = call.firstLog;
    this.at = at.blocks;
    this.favor = favor;
    this.sums = new BlockSums(favor, at.sums);
  }

  /** Loads a key head's feature map and computes the sums of all blocks of keys. */
  startHead(inputs: HeadInputs): void {
    const { heap, at, call, favor, sums, exact } = this;
    const { keyRows, dim } = this.attention;
    const features = call.features[inputs.keyHead]!;
    this.#features = features;
    const { weight, normMatrix } = features.queryFactor!;
    const dimWidth = padded(dim);
    heap.fill(1, at.ones, at.ones + at.columns);
    heap.fill(0, at.queryWeight, at.queryWeight + dimWidth);
    heap.set(weight, at.queryWeight);
    if (normMatrix) {
      heap.fill(0, at.queryNormMatrix, at.queryNormMatrix + dimWidth * dimWidth);
      for (let r = 0; r < dim; r++) {
        for (let c = 0; c < dim; c++) heap[at.queryNormMatrix + c * dimWidth + r] = normMatrix[r * dim + c]!;
      }
    }
    favor.startHead(features);
    if (!call.hasFarField) return;
    for (let block = 0; block < exact.keyBlocks; block++) {
      sums.clear();
      const end = Math.min(keyRows, (block + 1) * exact.window);
      for (let start = block * exact.window; start < end; start += TILE) {
        const rows = Math.min(TILE, end - start);
        favor.loadKeys(inputs, undefined, start, start + rows);
        favor.raiseMaximum(0, rows);
        favor.finishKeys(0, rows);
        const block32 = inputs.hasCore ? joinFeatures(favor, 0, rows) : favor.at.keyFeatures;
        favor.addToSums(block32, 0, rows);
      }
      sums.keep(block);
    }
    sums.build();
  }

  /** The feature map of the head that was started last. */
  get features(): FeatureMap32 {
    return this.#features;
  }

  /** What a block of queries attends to, and the log mask of its exact keys in `slotShift`. */
  plan(block: number, chosen: Int32Array): BlockPlan {
    const { heap, at, exact, call } = this;
    const width = blockWidth(exact);
    const near = nearBlocks(exact, block);
    const inRange: number[] = Array.from({ length: near.to - near.from }, (_, i) => near.from + i);
    const exactBlocks = [...inRange, ...chosen].toSorted((a, b) => a - b);
    const slots: Slot[] = [];
    let columns = 0;
    if (exact.first >= 0) {
      slots.push({ block: exact.keyBlocks, column: 0, width: FIRST_WIDTH });
      columns = FIRST_WIDTH;
    }
    for (const each of exactBlocks) {
      slots.push({ block: each, column: columns, width });
      columns += width;
    }
    for (const slot of slots) {
      const from = at.columnShift + slot.block * width;
      heap.copyWithin(at.slotShift + slot.column, from, from + slot.width);
    }
    const end = exact.causal ? block - 1 : exact.keyBlocks;
    const nodes = call.hasFarField ? this.sums.nodesWithout(exactBlocks, Math.max(0, end)) : [];
    return { block, slots, columns, nodes };
  }

  /** Loads the sums of a plan's far field into the FAVOR workspace. */
  loadFarField({ nodes }: BlockPlan): void {
    this.sums.load(nodes);
    this.favor.shiftByMaximum();
  }

  /**
   * For the query rows from..to of a head: `favor.at.out` and `favor.at.divisor` become the unnormalised output and the
   * normaliser, `scores` the exact weights and `factors` what the far field's sums were multiplied by. All are relative
   * to the larger of the largest exact weight and the far field's sum.
   */
  attend(query: Float32Array, head: number, from: number, to: number, plan: BlockPlan): void {
    const { kernels, heap, at, favor } = this;
    const { out, divisor } = favor.at;
    const { slots, columns, nodes } = plan;
    const rows = to - from;
    const valueWidth = favor.valueWidth;
    this.#score(query, head, from, to, plan);
    heap.fill(NO_MAXIMUM, at.maximum, at.maximum + rows);
    if (columns > 0) kernels.rowMaximum(at.maximum, at.scores, at.slotShift, rows, columns);
    if (nodes.length > 0) this.#attendFar(query, head, from, to);
    else {
      heap.fill(0, out, out + rows * valueWidth);
      heap.fill(0, divisor, divisor + rows);
      heap.fill(0, at.factors, at.factors + rows);
      for (let row = 0; row < rows; row++) heap[at.rowShift + row] = -heap[at.maximum + row]!;
    }
    if (columns === 0) return;
    kernels.expRows(at.scores, at.rowShift, at.slotShift, rows, columns);
    kernels.rowDots(divisor, at.scores, at.ones, rows, columns);
    for (const { block, column, width } of slots) {
      kernels.matmul({
        out,
        left: at.scores + column,
        right: at.values + block * blockWidth(this.exact) * valueWidth,
        rows,
        cols: valueWidth,
        depth: width,
        leftRow: columns,
        accumulate: true,
      });
    }
  }

  /** `scores` = the logits of the exact keys; -Infinity for those after a query in causal attention. */
  #score(query: Float32Array, head: number, from: number, to: number, { slots, columns, block }: BlockPlan): void {
    const { kernels, heap, at, exact, call } = this;
    const { dim, queryRows } = this.attention;
    const [width, dimWidth, rows] = [blockWidth(exact), padded(dim), to - from];
    const source = { array: query, firstRow: head * queryRows, width: dim, factor: call.scale };
    loadRows(heap, at.queries, source, from, to);
    for (const slot of slots) {
      kernels.matmul({
        out: at.scores + slot.column,
        left: at.queries,
        right: at.keysTransposed + slot.block * dimWidth * width,
        rows,
        cols: slot.width,
        depth: dim,
        leftRow: dimWidth,
        rightRow: width,
        outRow: columns,
      });
    }
    if (!exact.causal) return;
    for (const slot of slots) {
      const isFirst = slot.block === exact.keyBlocks;
      if (!isFirst && slot.block !== block) continue;
      const start = isFirst ? exact.first : block * exact.window;
      for (let row = 0; row < rows; row++) {
        const seen = Math.max(0, from + row + 1 - start);
        const line = at.scores + row * columns + slot.column;
        if (seen < slot.width) heap.fill(-Infinity, line + seen, line + slot.width);
      }
    }
  }

  /** `out` and `divisor` from the sums, and the scale of the two parts in `rowShift` and `factors`. */
  #attendFar(query: Float32Array, head: number, from: number, to: number): void {
    const { kernels, heap, at, favor } = this;
    const { queryRowShift, out, divisor, sums, normaliser, maximum } = favor.at;
    const rows = to - from;
    favor.loadQueries(query, head, from, to);
    this.#logFactors(rows);
    favor.finishQueries(rows);
    favor.attendToSums(rows, sums, normaliser);
    // without a core, the queries' features hold the maxima
    const shared = this.favor.hasCore ? heap[maximum]! : 0;
    for (let row = 0; row < rows; row++) {
      const log = heap[at.logFactor + row]! - heap[queryRowShift + row]! + shared;
      const mass = heap[divisor + row] === 0 ? NO_MAXIMUM : log + Math.log(heap[divisor + row]!);
      const largest = Math.max(heap[at.maximum + row]!, mass);
      const factor = heap[divisor + row] === 0 ? 0 : Math.exp(log - largest);
      heap[at.factors + row] = factor;
      heap[at.rowShift + row] = -largest;
      heap[divisor + row]! *= factor;
    }
    kernels.scaleRows(out, at.factors, rows, favor.valueWidth);
  }

  /** `logFactor` of the queries that `favor.loadQueries` has left in `rows`. */
  #logFactors(rows: number): void {
    const { kernels, heap, at, favor } = this;
    const { dim } = this.attention;
    const { constant, normMatrix } = this.#features.queryFactor!;
    const dimWidth = padded(dim);
    heap.fill(constant, at.logFactor, at.logFactor + rows);
    kernels.rowDots(at.logFactor, favor.at.rows, at.queryWeight, rows, dimWidth);
    if (!normMatrix) return;
    kernels.matmul({
      out: favor.at.normRows,
      left: favor.at.rows,
      right: at.queryNormMatrix,
      rows,
      cols: dimWidth,
      depth: dim,
      leftRow: dimWidth,
    });
    kernels.subtractHalfNorms(at.logFactor, favor.at.normRows, rows, dimWidth);
  }
}
