import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { AttentionSite } from "../../attention/site.ts";
import type { SiteExactKeys } from "../../report.ts";
import { BlockScan } from "../block-scan.ts";
import type { LinearFeatures } from "../linear.ts";
import type { SiteInputs } from "../site-inputs.ts";
import { areNear, cutBlocks, inBlocks, numbers, type Blocks } from "./blocks.ts";
import { blockScores, largestBlocks } from "./choose.ts";
import { exactTable, farFromEnd, piece, widening, widenQueries, type ExactTable } from "./exact-table.ts";
import { blockSums, farField, type FarField } from "./far-field.ts";
import { nearBlocks, piecesOf } from "./gather-pieces.ts";

/** Blocks of queries that are computed at once. */
const blocksAtOnce = 1;

/**
 * Attention that is exact for some keys of each query and estimated by features for all others, `hybridAttention` of
 * @favor/core, O(L) in time and memory but for the choice of blocks (O(L^2 / 16) in time):
 *
 *     out = softmax([q.k of exact keys, log of the far field's weight]) [values of exact keys, the far field's mean]
 *
 * @param features undefined without far field
 * @returns [batch, heads, queries, valueDim]
 */
export function emitHybrid(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  features: LinearFeatures | undefined,
  exact: SiteExactKeys,
): string {
  const { valueDim, headDim, logitScale, kind } = site;
  const hasNear = kind === "self";
  const { window, chosenBlocks } = exact;
  const queries = cutBlocks(build, build.dimension(inputs.query, 2), window);
  const keys = hasNear ? queries : cutBlocks(build, build.dimension(inputs.keyColumns, 3), window);
  const table = exactTable(build, inputs, keys, hasNear);
  const query = logitScale === 1 ? inputs.query : build.op("Mul", [inputs.query, build.scalar(logitScale)]);
  const sums = features && blockSums(build, features, table.inBlocks, keys);

  let isFar = blocksWithVisible(build, table.inBlocks, keys);
  if (hasNear) isFar = build.op("And", [isFar, build.op("Not", [areNear(build, queries)])]);
  let blocks = hasNear ? nearBlocks(build, queries) : undefined;
  if (chosenBlocks > 0) {
    const scores = blockScores(build, query, hasNear ? inputs.keep : undefined, table, window, queries, keys, headDim);
    const open = build.op("Where", [isFar, scores, build.scalar(-1)]);
    const choice = largestBlocks(build, open, mostChosen(build, keys, chosenBlocks, hasNear));
    blocks = blocks === undefined ? choice.blocks : beside(build, blocks, choice.blocks);
    isFar = build.op("Not", [build.op("Less", [choice.rest, build.scalar(0)])]);
  }
  const far = features && farField(build, features, sums!, isFar, queries, valueDim);
  return attend(build, {
    query,
    table,
    pieces: piecesOf(build, blocks!, table, keys),
    far,
    queries,
    headDim,
    valueDim,
  });
}

/** Booleans [batch or 1, heads or 1, 1, blocks]: whether a block of keys has one that counts. */
function blocksWithVisible(build: NodeBuilder, counts: string | undefined, blocks: Blocks): string {
  if (counts === undefined) return build.op("Less", [numbers(build, blocks, 3), blocks.count]);
  const column = build.transpose(build.cast(counts, DataType.FLOAT), [0, 1, 3, 2]);
  const largest = build.squeeze(build.reduceMax(inBlocks(build, column, blocks), 3), [4]);
  return build.cast(build.transpose(largest, [0, 1, 3, 2]), DataType.BOOL);
}

/** How many blocks can be chosen: with a near field, at least two are near. A list of one integer. */
function mostChosen(build: NodeBuilder, keys: Blocks, chosenBlocks: number, hasNear: boolean): string {
  const most = build.extreme("Min", [
    hasNear ? build.op("Sub", [keys.count, build.integers([2])]) : keys.count,
    build.integers([chosenBlocks]),
  ]);
  return build.extreme("Max", [most, build.integers([0])]);
}

/** Near blocks [1, 1, query blocks, near] before chosen ones [batch, heads, query blocks, chosen]. */
function beside(build: NodeBuilder, near: string, chosen: string): string {
  const outer = build.slice(build.op("Shape", [chosen]), 0, 0, 2);
  const shape = build.concat([outer, build.slice(build.op("Shape", [near]), 0, 2, 4)], 0);
  return build.concat([build.op("Expand", [near, shape]), chosen], 3);
}

interface Attended {
  readonly query: string;
  readonly table: ExactTable;
  /** int64 [batch, heads or key heads, query blocks, pieces] */
  readonly pieces: string;
  readonly far: FarField | undefined;
  readonly queries: Blocks;
  readonly headDim: number;
  readonly valueDim: number;
}

/** Attention of each block of queries to the keys that it gathers, and to the far field as one more key. */
function attend(build: NodeBuilder, given: Attended): string {
  const { query, table, pieces, far, queries, headDim, valueDim } = given;
  const pieceRows = (value: string, width: number): string =>
    build.op("Reshape", [value, build.integers([-1, piece * width])]);
  const [keyPieces, valuePieces] = [pieceRows(table.keys, headDim + widening), pieceRows(table.values, valueDim)];
  const wide = widenQueries(build, inBlocks(build, query, queries), far?.log);
  const scan = new BlockScan(build, queries.count, blocksAtOnce);
  const { inner } = scan;
  const index = scan.rowsOf(pieces, 2);
  const gathered = (from: string, width: number): string =>
    inner.op("Reshape", [
      inner.op("Gather", [from, index], { axis: { int: 0 } }),
      inner.integers([0, 0, 0, -1, width]),
    ]);
  const key = inner.transpose(gathered(keyPieces, headDim + widening), [0, 1, 2, 4, 3]);
  const weights = inner.softmax(inner.op("MatMul", [scan.rowsOf(wide, 2), key]));
  let rows = inner.op("MatMul", [weights, gathered(valuePieces, valueDim)]);
  if (far !== undefined) {
    const share = inner.slice(weights, 4, -farFromEnd, 1 - farFromEnd);
    rows = inner.op("Add", [rows, inner.op("Mul", [share, scan.rowsOf(far.value, 2)])]);
  }
  const joined = scan.finish(rows, { axis: 2, rank: 5, dataType: DataType.FLOAT });
  const flat = build.op("Reshape", [joined, build.integers([0, 0, -1, valueDim])]);
  return build.op("Slice", [flat, build.integers([0]), queries.length, build.integers([2])]);
}
