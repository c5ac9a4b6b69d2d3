import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";
import { BlockScan } from "../block-scan.ts";
import { rowNumbers, type Blocks } from "./blocks.ts";
import { farFromEnd, piece, type ExactTable } from "./exact-table.ts";
import type { FarField } from "./far-field.ts";
import { queryTails, widening } from "./widened.ts";

/** Logits at once: 512 KB of them, about what a processor keeps near. */
const logitsAtOnce = 2 ** 17;

export interface Attended {
  /** [batch, heads, queries, dim], and what their logits are multiplied by. */
  readonly query: string;
  readonly logitScale: number;
  readonly table: ExactTable;
  /** int64 [batch, heads or key heads, query blocks, pieces], and how many blocks that is. */
  readonly pieces: string;
  readonly exactBlocks: number;
  readonly far: FarField | undefined;
  readonly queries: Blocks;
  readonly dim: number;
  readonly valueDim: number;
  /** The second block that is gathered is the queries' own, and hides later keys. */
  readonly causal: boolean;
}

/**
 * Attention of each block of queries to the keys that it gathers, and to the far field as one more key:
 *
 *     out = softmax([q.k of exact keys, log of the far field's weight]) [values of exact keys, the far field's mean]
 *
 * Blocks of all batch entries and heads follow one another, as many at once as keep their logits in a cache.
 *
 * @returns [batch, heads, queries, valueDim]
 */
export function attend(build: NodeBuilder, given: Attended): string {
  const { query, logitScale, table, pieces, exactBlocks, far, queries, dim, valueDim, causal } = given;
  const { width } = queries;
  const pieceRows = (value: string, columns: number): string =>
    build.op("Reshape", [value, build.integers([-1, piece * columns])]);
  const [keyPieces, valuePieces] = [pieceRows(table.keys, dim + widening), pieceRows(table.values, valueDim)];
  const outer = build.slice(build.op("Shape", [query]), 0, 0, 2);
  const perBlock = (exactBlocks * width) / piece + 1;
  const spread = build.op("Expand", [pieces, build.concat([outer, queries.count, build.integers([perBlock])], 0)]);
  const indices = build.op("Reshape", [spread, build.integers([-1, perBlock])]);
  const columns = perBlock * piece;
  const scan = new BlockScan(
    build,
    build.dimension(indices, 0),
    Math.max(1, Math.floor(logitsAtOnce / (width * columns))),
  );
  const { inner } = scan;
  const ofBlocks = (value: string, rows: number, size: number): string =>
    scan.rowsOf(build.op("Reshape", [value, build.integers([-1, rows, size])]), 0);
  const [batch, heads] = [build.slice(outer, 0, 0, 1), build.slice(outer, 0, 1, 2)];
  const number = scan.rowsOf(rowNumbers(build, build.op("Mul", [batch, heads]), queries), 0);
  const ofRows = (value: string, size: number): string =>
    scan.rowsOf(build.op("Reshape", [value, build.integers([-1, size])]), 0, number);
  const rows = ofRows(query, dim);
  const scaled = logitScale === 1 ? rows : inner.op("Mul", [rows, inner.scalar(logitScale)]);
  const index = scan.rowsOf(indices, 0);
  const gathered = (from: string, size: number): string =>
    inner.op("Reshape", [inner.op("Gather", [from, index], { axis: { int: 0 } }), inner.integers([0, columns, size])]);
  const key = inner.transpose(gathered(keyPieces, dim + widening), [0, 2, 1]);
  const tails = queryTails(build, far?.log);
  const tail =
    far === undefined
      ? build.op("Expand", [tails, build.concat([scan.size, build.integers([width, widening])], 0)])
      : ofBlocks(tails, width, widening);
  let logits = inner.op("MatMul", [inner.concat([scaled, tail], 2), key]);
  if (causal) logits = inner.op("Add", [logits, laterKeys(build, width, columns)]);
  const weights = inner.op("Softmax", [logits], { axis: { int: -1 } });
  let out = inner.op("MatMul", [weights, gathered(valuePieces, valueDim)]);
  if (far !== undefined) {
    const { count } = far;
    const share = inner.slice(weights, 2, -farFromEnd, 1 - farFromEnd);
    const factor = inner.op("Mul", [share, ofBlocks(build.op("Reciprocal", [far.mass]), width, 1)]);
    const features = inner.op("Mul", [ofRows(far.query, count), factor]);
    out = inner.op("Add", [out, inner.op("MatMul", [features, ofBlocks(far.state, count, valueDim)])]);
  }
  const joined = scan.finish(out, { axis: 0, rank: 3, dataType: DataType.FLOAT });
  const shape = build.concat([outer, build.integers([-1, valueDim])], 0);
  const all = build.op("Reshape", [joined, shape]);
  return build.op("Slice", [all, build.integers([0]), queries.length, build.integers([2])]);
}

/** Far below 0 for the keys of the own block after a query, otherwise 0: [width, columns]. */
function laterKeys(build: NodeBuilder, width: number, columns: number): string {
  const own = build.op("Sub", [build.range(build.integers([columns])), build.integers([width])]);
  const rows = build.unsqueeze(build.range(build.integers([width])), [1]);
  const isLater = build.op("And", [build.op("Greater", [own, rows]), build.op("Less", [own, build.integers([width])])]);
  return build.op("Where", [isLater, build.scalar(maskedLog), build.scalar(0)]);
}
