import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";
import type { SiteInputs } from "../site-inputs.ts";
import { padRows, type Blocks } from "./blocks.ts";

/**
 * Columns that widen each head, q.k as a product of q' and k'. A multiple of 8 keeps rows aligned for vectors.
 *
 *     column    q'                              k'
 *     far       the far field's logit           1 for the far field, otherwise 0
 *     bias      1                               0, or far below zero where a key is hidden
 *     apart     0, or far below zero            1 for the first key and the far field, otherwise 0
 */
const column = { far: 0, bias: 1, apart: 2, count: 8 };
export const widening: number = column.count;
/** Rows that follow the blocks: the first key, the far field, and hidden ones. */
const added = { first: 0, far: 1, count: 16 };
/** Rows that are gathered together. Blocks are multiples of it. */
export const piece = 8;

/** All keys and values that can be exact, as rows from which each block of queries gathers its own. */
export interface ExactTable {
  /** [batch, key heads, rows + 16, dim + 8] */
  readonly keys: string;
  /** [batch, key heads, rows + 16, valueDim]; 0 where hidden. */
  readonly values: string;
  /** Booleans [batch or 1, heads or 1, 1, keys]: which keys count in their blocks; undefined: all. */
  readonly inBlocks: string | undefined;
}

/** Positions in a softmax over gathered rows whose last 8 are the first ones after the blocks. */
export const farFromEnd: number = piece - added.far;

/** Numbers of pieces after those of the blocks. */
export const afterBlocks: { readonly apart: number; readonly hidden: number; readonly count: number } = {
  apart: 0,
  hidden: 1,
  count: added.count / piece,
};

/** @param withFirst whether the first key that the mask shows is exact for all */
export function exactTable(
  build: NodeBuilder,
  { keyColumns, value, keep }: SiteInputs,
  blocks: Blocks,
  withFirst: boolean,
): ExactTable {
  const first = withFirst ? firstKey(build, keep) : undefined;
  const inBlocks = first === undefined ? keep : countsInBlock(build, keep, first, blocks);
  const visible = keep === undefined ? value : build.op("Where", [asColumn(build, keep), value, build.scalar(0)]);
  const key = build.transpose(keyColumns, [0, 1, 3, 2]);
  const rows = (given: string): string => {
    const padded = padRows(build, given, blocks);
    const shape = build.op("Shape", [padded]);
    const sizes = (count: number): string =>
      build.concat([build.slice(shape, 0, 0, 2), build.integers([count]), build.slice(shape, 0, 3, 4)], 0);
    const zeros = (count: number): string => build.op("Expand", [build.scalar(0), sizes(count)]);
    if (first === undefined) return build.concat([padded, zeros(added.count)], 2);
    return build.concat([padded, rowOf(build, given, first), zeros(added.count - 1)], 2);
  };
  const keys = rows(key);
  return {
    keys: build.concat([keys, keyTail(build, keys, inBlocks, blocks, withFirst)], 3),
    values: rows(visible),
    inBlocks,
  };
}

/** The number of the first key that counts, int64 [batch, heads or 1, 1, 1]; undefined: 0. */
type First = string | 0;

function firstKey(build: NodeBuilder, keep: string | undefined): First {
  if (keep === undefined) return 0;
  return build.op("ArgMax", [build.cast(keep, DataType.FLOAT)], { axis: { int: 3 }, keepdims: { int: 1 } });
}

/** [batch, heads, length, width] to [batch, heads, 1, width]. */
function rowOf(build: NodeBuilder, value: string, first: First): string {
  if (first === 0) return build.slice(value, 2, 0, 1);
  const shape = build.op("Shape", [value]);
  const outer = build.slice(shape, 0, 0, 2);
  const length = build.slice(shape, 0, 2, 3);
  const count = build.op("Mul", [build.slice(shape, 0, 0, 1), build.slice(shape, 0, 1, 2)]);
  const starts = build.op("Reshape", [build.op("Mul", [build.range(count), length]), outer]);
  const at = build.op("Add", [starts, build.squeeze(first, [2, 3])]);
  const flat = build.op("Reshape", [value, build.concat([build.integers([-1]), build.slice(shape, 0, 3, 4)], 0)]);
  return build.unsqueeze(build.op("Gather", [flat, at], { axis: { int: 0 } }), [2]);
}

/** Booleans [batch or 1, heads or 1, 1, keys]: shown, and not the first. */
function countsInBlock(build: NodeBuilder, keep: string | undefined, first: First, { length }: Blocks): string {
  const positions = build.unsqueeze(build.range(length), [0, 1, 2]);
  const isFirst = build.op("Equal", [positions, first === 0 ? build.integers([0]) : first]);
  const isOther = build.op("Not", [isFirst]);
  return keep === undefined ? isOther : build.op("And", [isOther, keep]);
}

export function asColumn(build: NodeBuilder, row: string): string {
  return build.transpose(row, [0, 1, 3, 2]);
}

/** What widens the keys: [batch, key heads, rows + 16, 8]. */
function keyTail(
  build: NodeBuilder,
  keys: string,
  inBlocks: string | undefined,
  blocks: Blocks,
  withFirst: boolean,
): string {
  const bias =
    inBlocks === undefined
      ? build.op("Expand", [
          build.scalar(0),
          build.concat([build.integers([1, 1]), blocks.length, build.integers([1])], 0),
        ])
      : asColumn(build, build.op("Where", [inBlocks, build.scalar(0), build.scalar(maskedLog)]));
  const padded = padRows(build, bias, blocks, maskedLog);
  const unit = new Float64Array(column.count);
  unit[column.bias] = 1;
  const tail = build.op("Mul", [padded, build.floats("bias_column", [1, 1, 1, column.count], unit)]);
  const last = new Float64Array(added.count * column.count);
  for (let row = 0; row < added.count; row++) {
    const isShown = row === added.far || (row === added.first && withFirst);
    last[row * column.count + column.bias] = isShown ? 0 : maskedLog;
    last[row * column.count + column.apart] = 1;
  }
  last[added.far * column.count + column.far] = 1;
  const outer = build.slice(build.op("Shape", [keys]), 0, 0, 2);
  const spread = (rows: string, count: string): string =>
    build.op("Expand", [rows, build.concat([outer, count, build.integers([column.count])], 0)]);
  const lastRows = build.floats("added_rows", [1, 1, added.count, column.count], last);
  return build.concat([spread(tail, blocks.rows), spread(lastRows, build.integers([added.count]))], 2);
}

/**
 * q' of queries [batch, heads, blocks, rows per block, dim].
 *
 * @param farLog [batch, heads, blocks, rows per block, 1]; undefined without far field
 */
export function widenQueries(build: NodeBuilder, query: string, farLog: string | undefined): string {
  const tail = new Float64Array(column.count);
  tail[column.bias] = 1;
  if (farLog === undefined) {
    tail[column.far] = maskedLog;
    return build.concat([query, spreadRow(build, query, tail)], 4);
  }
  return build.concat([query, farLog, spreadRow(build, query, tail.slice(1))], 4);
}

/** q' of queries, also of rank 5, that see neither the first key nor the far field. */
export function widenForBlocks(build: NodeBuilder, query: string): string {
  const tail = new Float64Array(column.count);
  tail[column.bias] = 1;
  tail[column.apart] = maskedLog;
  return build.concat([query, spreadRow(build, query, tail)], 4);
}

function spreadRow(build: NodeBuilder, value: string, row: Float64Array): string {
  const outer = build.slice(build.op("Shape", [value]), 0, 0, 4);
  const shape = build.concat([outer, build.integers([row.length])], 0);
  return build.op("Expand", [build.floats("query_columns", [1, 1, 1, 1, row.length], row), shape]);
}
