import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";
import { BlockScan } from "../block-scan.ts";
import { asColumn, inBlocks, numbers, type Blocks } from "./blocks.ts";
import { widenQueries } from "./widened.ts";

/** The most means of queries that are compared with all keys at once. */
const meansAtOnce = 64;

/** What chooses blocks of keys for blocks of queries. */
export interface Choosers {
  /** [batch, heads, queries, dim], and what their logits are multiplied by. */
  readonly query: string;
  readonly logitScale: number;
  /** Booleans [batch, heads or 1, 1, queries]: which queries count; undefined: all. */
  readonly keep: string | undefined;
  readonly dim: number;
  readonly queries: Blocks;
  readonly keys: Blocks;
  readonly causal: boolean;
  /** How many queries are averaged. */
  readonly group: number;
}

/**
 * How much each block of keys matters to each block of queries, as `averagedQueries` of @favor/core says it: the softmax of
 * each group's mean query over all keys in blocks, summed within blocks and over the groups of a block of queries. In
 * causal attention the queries of the block before choose, among the blocks up to their own.
 *
 * @param columns k' of keys or their means, [batch, key heads, dim + 8, keys]
 * @returns [batch, heads, query blocks, key blocks]
 */
export function blockScores(build: NodeBuilder, choosers: Choosers, columns: string): string {
  const { queries, keys, causal, group } = choosers;
  const { means, counts } = averaged(build, choosers);
  const groups = queries.width / group;
  const scan = new BlockScan(build, queries.count, Math.max(1, Math.floor(meansAtOnce / groups)));
  const { inner } = scan;
  const rows = scan.rowsOf(widenQueries(build, means), 2);
  const shape = inner.op("Shape", [rows]);
  const outer = inner.slice(shape, 0, 0, 2);
  const blockCount = inner.slice(shape, 0, 2, 3);
  const flat = inner.op("Reshape", [rows, inner.concat([outer, inner.integers([-1]), inner.slice(shape, 0, 4, 5)], 0)]);
  const split = inner.concat([outer, blockCount, inner.integers([groups]), keys.count, inner.integers([-1])], 0);
  let logits = inner.op("MatMul", [flat, columns]);
  if (causal) {
    const seen = inner.op("Add", [inner.op("Reshape", [logits, split]), pastBlocks(scan, keys)]);
    logits = inner.op("Reshape", [seen, inner.op("Shape", [logits])]);
  }
  const shares = inner.op("Reshape", [inner.softmax(logits), split]);
  const byGroup = inner.squeeze(inner.reduceSum(shares, 5), [5]);
  const counted = inner.op("Mul", [byGroup, scan.rowsOf(counts, 2)]);
  const output = { axis: 2, rank: 4, dataType: DataType.FLOAT };
  const scores = scan.finish(inner.squeeze(inner.reduceSum(counted, 3), [3]), output);
  return causal ? ofBlockBefore(build, scores) : scores;
}

/** 0 for key blocks up to a query block's own, and far below for those after it: [query blocks, 1, key blocks, 1]. */
function pastBlocks({ inner, outer, index }: BlockScan, keys: Blocks): string {
  const isLater = inner.op("Less", [
    inner.unsqueeze(index, [1, 2, 3]),
    outer.unsqueeze(outer.range(keys.count), [0, 1, 3]),
  ]);
  return inner.op("Where", [isLater, inner.scalar(maskedLog), inner.scalar(0)]);
}

/** Shifts scores by one block of queries. */
function ofBlockBefore(build: NodeBuilder, scores: string): string {
  const first = build.op("Mul", [build.slice(scores, 2, 0, 1), build.scalar(0)]);
  return build.concat([first, build.slice(scores, 2, 0, -1)], 2);
}

/**
 * The scaled means of each group of queries that count, [batch, heads, blocks, groups, dim], and 1 for each group that has any,
 * [batch or 1, heads or 1, blocks, groups, 1].
 */
function averaged(
  build: NodeBuilder,
  { query, logitScale, keep, queries, dim, group }: Choosers,
): { means: string; counts: string } {
  const one = build.scalar(1);
  const weight =
    keep === undefined
      ? build.op("Expand", [one, build.concat([build.integers([1, 1]), queries.length, build.integers([1])], 0)])
      : asColumn(build, build.cast(keep, DataType.FLOAT));
  const shown = keep === undefined ? query : build.op("Where", [asColumn(build, keep), query, build.scalar(0)]);
  const sums = (value: string, width: number): string => {
    const groups = build.integers([0, 0, 0, -1, group, width]);
    const split = build.op("Reshape", [inBlocks(build, value, queries), groups]);
    return build.squeeze(build.reduceSum(split, 4), [4]);
  };
  const sizes = sums(weight, 1);
  const divisor = build.op("Div", [build.op("Max", [sizes, one]), build.scalar(logitScale)]);
  return {
    means: build.op("Div", [sums(shown, dim), divisor]),
    counts: build.op("Min", [sizes, one]),
  };
}

/** The choice of blocks of keys for each block of queries. */
export interface Choice {
  /** int64 [batch, heads, query blocks, chosen]; -1 where none is left. */
  readonly blocks: string;
  /** Booleans [batch, heads, query blocks, key blocks]: which of the blocks that could be chosen were not. */
  readonly left: string;
}

/**
 * The blocks of the largest scores, of equal ones the earlier.
 *
 * @param scores [batch, heads, query blocks, key blocks]
 * @param open booleans of that shape, or to be repeated to it: which blocks may be chosen
 */
export function chooseBlocks(build: NodeBuilder, scores: string, open: string, count: number): Choice {
  const none = build.scalar(-1);
  const allowed = build.op("Where", [open, scores, none]);
  const [values, indices] = build.ops("TopK", [allowed, build.integers([count])], 2) as [string, string];
  const taken = build.op("Expand", [none, build.op("Shape", [values])]);
  const rest = build.op("ScatterElements", [allowed, indices, taken], { axis: { int: 3 } });
  return {
    blocks: build.op("Where", [build.op("Less", [values, build.scalar(0)]), build.integers([-1]), indices]),
    left: build.op("Not", [build.op("Less", [rest, build.scalar(0)])]),
  };
}

/** Booleans [batch or 1, heads or 1, 1, blocks]: whether a block of keys has one that counts. */
export function blocksWithKeys(build: NodeBuilder, counts: string | undefined, blocks: Blocks): string {
  if (counts === undefined) return build.op("Less", [numbers(build, blocks, 3), blocks.count]);
  const column = asColumn(build, build.cast(counts, DataType.FLOAT));
  const largest = build.squeeze(build.reduceMax(inBlocks(build, column, blocks), 3), [4]);
  return build.cast(asColumn(build, largest), DataType.BOOL);
}
