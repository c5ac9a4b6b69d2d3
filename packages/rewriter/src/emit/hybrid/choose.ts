import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { BlockScan } from "../block-scan.ts";
import { group, inBlocks, type Blocks } from "./blocks.ts";
import { asColumn, piece, widenForBlocks, type ExactTable } from "./exact-table.ts";

/** The most rows of averaged queries that are compared with all keys at once. */
const meansAtOnce = 64;

/**
 * How much each block of keys matters to each block of queries, as `averagedQueries` of @favor/core says it: the softmax of
 * each group's mean query over all keys in blocks, summed within blocks and over the groups of a block of queries.
 *
 * @param query scaled, [batch, heads, queries, dim]
 * @param keep booleans [batch or 1, heads or 1, 1, queries]: which queries count
 * @returns [batch, heads, query blocks, key blocks]
 */
export function blockScores(
  build: NodeBuilder,
  query: string,
  keep: string | undefined,
  table: ExactTable,
  window: number,
  queries: Blocks,
  keys: Blocks,
  dim: number,
): string {
  const { means, counts } = averaged(build, query, keep, queries, dim);
  const columns = build.transpose(table.keys, [0, 1, 3, 2]);
  const scan = new BlockScan(build, queries.count, Math.max(1, Math.floor((meansAtOnce * group) / window)));
  const { inner } = scan;
  const rows = scan.rowsOf(widenForBlocks(build, means), 2);
  const shape = inner.op("Shape", [rows]);
  const outer = inner.slice(shape, 0, 0, 2);
  const [blockCount, groups] = [inner.slice(shape, 0, 2, 3), inner.slice(shape, 0, 3, 4)];
  const flat = inner.op("Reshape", [
    rows,
    inner.concat([outer, inner.op("Mul", [blockCount, groups]), inner.slice(shape, 0, 4, 5)], 0),
  ]);
  const shares = inner.softmax(inner.op("MatMul", [flat, columns]));
  // The rows behind the blocks have no share.
  const byPiece = inner.reduceSum(inner.op("Reshape", [shares, inner.integers([0, 0, 0, -1, piece])]), 4);
  const pieces = build.op("Div", [keys.rows, build.integers([piece])]);
  const own = inner.op("Slice", [byPiece, inner.integers([0]), pieces, inner.integers([3])]);
  const split = inner.concat([outer, blockCount, groups, keys.count, inner.integers([-1])], 0);
  const byGroup = inner.squeeze(inner.reduceSum(inner.op("Reshape", [own, split]), 5), [5]);
  const counted = inner.op("Mul", [byGroup, scan.rowsOf(counts, 2)]);
  return scan.finish(inner.squeeze(inner.reduceSum(counted, 3), [3]), { axis: 2, rank: 4, dataType: DataType.FLOAT });
}

/**
 * The means of each group of queries that count, [batch, heads, blocks, groups, dim], and 1 for each group that has any,
 * [batch or 1, heads or 1, blocks, groups, 1].
 */
function averaged(
  build: NodeBuilder,
  query: string,
  keep: string | undefined,
  blocks: Blocks,
  dim: number,
): { means: string; counts: string } {
  const weight =
    keep === undefined
      ? build.op("Expand", [
          build.scalar(1),
          build.concat([build.integers([1, 1]), blocks.length, build.integers([1])], 0),
        ])
      : asColumn(build, build.cast(keep, DataType.FLOAT));
  const weighted = keep === undefined ? query : build.op("Where", [asColumn(build, keep), query, build.scalar(0)]);
  const sums = groupSums(build, weighted, blocks, dim);
  const sizes = groupSums(build, weight, blocks, 1);
  return {
    means: build.op("Div", [sums, build.op("Max", [sizes, build.scalar(1)])]),
    counts: build.op("Min", [sizes, build.scalar(1)]),
  };
}

/** [batch, heads, rows, width] summed over groups of rows: [batch, heads, blocks, groups, width]. */
function groupSums(build: NodeBuilder, value: string, blocks: Blocks, width: number): string {
  const cut = inBlocks(build, value, blocks);
  const groups = build.op("Reshape", [cut, build.integers([0, 0, 0, -1, group, width])]);
  return build.squeeze(build.reduceSum(groups, 4), [4]);
}

/** The choice of blocks of keys for each block of queries. */
export interface Choice {
  /** int64 [batch, heads, query blocks, chosen]; -1 where none is left. */
  readonly blocks: string;
  /** The scores, below 0 where a block was chosen. */
  readonly rest: string;
}

/**
 * The blocks of the largest scores, of equal ones the earlier.
 *
 * @param scores [batch, heads, query blocks, key blocks], below 0 for blocks that must not be chosen
 * @param most how many are chosen at most, a list of one integer
 */
export function largestBlocks(build: NodeBuilder, scores: string, most: string): Choice {
  const [values, indices] = build.ops("TopK", [scores, most], 2) as [string, string];
  const none = build.scalar(-1);
  const chosen = build.op("Expand", [none, build.op("Shape", [values])]);
  return {
    blocks: build.op("Where", [build.op("Less", [values, build.scalar(0)]), build.integers([-1]), indices]),
    rest: build.op("ScatterElements", [scores, indices, chosen], { axis: { int: 3 } }),
  };
}
