import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { maskedLog } from "../../stateful/log-range.ts";
import { asColumn, padRows, type Blocks } from "./blocks.ts";
import { biasColumns, farTail, keyTail, widening } from "./widened.ts";

/** Rows that are gathered together. Blocks are multiples of it. */
export const piece = 8;
/** Rows after those of the blocks: a piece with the first key, the far field and hidden rows, and a hidden piece. */
const added = { first: 0, far: 1, count: 2 * piece };
/** Pieces after those of the blocks. */
export const afterBlocks: { readonly apart: number; readonly hidden: number; readonly count: number } = {
  apart: 0,
  hidden: 1,
  count: added.count / piece,
};
/** Where the far field is among the rows of its piece, from the end. */
export const farFromEnd: number = piece - added.far;

/** Keys and values as they lie in the graph, and which of them count. */
export interface Keys {
  /** [batch, heads or 1, keys, dim] */
  readonly key: string;
  /** [batch, heads or 1, keys, valueDim]; 0 where hidden. */
  readonly value: string;
  /** Booleans [batch, heads or 1, 1, keys]; undefined if all count. */
  readonly keep: string | undefined;
}

/** All keys and values that can be exact, as rows from which each block of queries gathers its own. */
export interface ExactTable {
  /** k', [batch, key heads, rows + 16, dim + 8]: those of the blocks first. */
  readonly keys: string;
  /** [batch, key heads, rows + 16, valueDim] */
  readonly values: string;
  /** Booleans [batch or 1, heads or 1, 1, keys]: which keys count in their blocks; undefined: all. */
  readonly inBlocks: string | undefined;
}

/** @param first whether the first key that the mask shows is exact for all, and in no block */
export function exactTable(build: NodeBuilder, given: Keys, blocks: Blocks, hasFirst: boolean): ExactTable {
  const { key, value, keep } = given;
  const first = hasFirst ? firstKey(build, keep) : undefined;
  const counts = first === undefined ? keep : countsInBlock(build, keep, first, blocks);
  return {
    keys: build.concat([tableRows(build, key, first, blocks), keyTails(build, key, counts, hasFirst, blocks)], 3),
    values: tableRows(build, value, first, blocks),
    inBlocks: counts,
  };
}

/** The rows of the blocks, that of the first key, and zeros. */
function tableRows(build: NodeBuilder, value: string, first: First | undefined, { rows, length }: Blocks): string {
  const shape = build.op("Shape", [value]);
  const [outer, width] = [build.slice(shape, 0, 0, 2), build.slice(shape, 0, 3, 4)];
  const zeros = (count: string): string =>
    build.op("Expand", [build.scalar(0), build.concat([outer, count, width], 0)]);
  const firstRow = first === undefined ? zeros(build.integers([1])) : rowOf(build, value, first);
  const padding = zeros(build.op("Sub", [rows, length]));
  return build.concat([value, padding, firstRow, zeros(build.integers([added.count - 1]))], 2);
}

/** What widens the rows of the table, [batch, key heads, rows + 16, 8]. */
function keyTails(
  build: NodeBuilder,
  key: string,
  counts: string | undefined,
  hasFirst: boolean,
  blocks: Blocks,
): string {
  const inBlocks = biasColumns(build, biases(build, counts, blocks));
  const hidden = keyTail(maskedLog);
  const after = [hasFirst ? keyTail(0) : hidden, farTail, ...Array.from({ length: added.count - 2 }, () => hidden)];
  const outer = build.slice(build.op("Shape", [inBlocks]), 0, 0, 2);
  const addedTails = build.op("Expand", [
    build.floats("after_blocks", [1, 1, added.count, widening], after.flat()),
    build.concat([outer, build.integers([1, 1])], 0),
  ]);
  const groups = build.slice(build.op("Shape", [key]), 0, 0, 2);
  return build.op("Expand", [
    build.concat([inBlocks, addedTails], 2),
    build.concat([groups, build.integers([1, 1])], 0),
  ]);
}

/** 0 where a key counts and far below where not, padding included: [batch or 1, heads or 1, rows, 1]. */
function biases(build: NodeBuilder, counts: string | undefined, blocks: Blocks): string {
  const shown = build.scalar(0);
  const column =
    counts === undefined
      ? build.op("Expand", [shown, build.concat([build.integers([1, 1]), blocks.length, build.integers([1])], 0)])
      : asColumn(build, build.op("Where", [counts, shown, build.scalar(maskedLog)]));
  return padRows(build, column, blocks, maskedLog);
}

/** The number of the first key that counts, int64 [batch, heads or 1, 1, 1]; or 0 for all. */
type First = string | 0;

export function firstKey(build: NodeBuilder, keep: string | undefined): First {
  if (keep === undefined) return 0;
  return build.op("ArgMax", [build.cast(keep, DataType.FLOAT)], { axis: { int: 3 }, keepdims: { int: 1 } });
}

/** [batch, heads, length, width] to [batch, heads, 1, width]. */
function rowOf(build: NodeBuilder, value: string, first: First): string {
  if (first === 0) return build.slice(value, 2, 0, 1);
  const shape = build.op("Shape", [value]);
  const outer = build.slice(shape, 0, 0, 2);
  const count = build.op("Mul", [build.slice(shape, 0, 0, 1), build.slice(shape, 0, 1, 2)]);
  const starts = build.op("Mul", [build.range(count), build.slice(shape, 0, 2, 3)]);
  const at = build.op("Add", [build.op("Reshape", [starts, outer]), build.squeeze(first, [2, 3])]);
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
