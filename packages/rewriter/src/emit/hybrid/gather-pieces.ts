import type { NodeBuilder } from "@favor/onnx/graph";
import { numbers, type Blocks } from "./blocks.ts";
import { afterBlocks, piece, type ExactTable } from "./exact-table.ts";

/**
 * The near blocks of each block of queries, int64 [1, 1, blocks, 1 to 3]: its own and the two around it, -1 where there is
 * none. Of one or two blocks all are near to all.
 */
export function nearBlocks(build: NodeBuilder, blocks: Blocks): string {
  const { count } = blocks;
  const three = build.integers([3]);
  const slots = build.range(build.extreme("Min", [count, three]));
  const isShort = build.op("Less", [count, three]);
  const own = build.op("Sub", [numbers(build, blocks, 2), build.integers([1])]);
  const start = build.op("Where", [isShort, build.integers([0]), own]);
  const near = build.op("Add", [start, slots]);
  const beyond = build.op("Not", [build.op("Less", [near, count])]);
  return build.op("Where", [beyond, build.integers([-1]), near]);
}

/**
 * Which pieces of the table each block of queries gathers: those of its blocks, and the one with the first key and the far
 * field. int64 [batch, heads, query blocks, pieces], counted through all batches and key heads.
 *
 * @param blocks int64 [batch, heads, query blocks, exact blocks]; -1 for none
 */
export function piecesOf(build: NodeBuilder, blocks: string, table: ExactTable, keys: Blocks): string {
  const size = build.integers([piece]);
  const within = build.range(build.op("Div", [keys.width, size]));
  const after = build.op("Div", [keys.rows, size]);
  const each = build.unsqueeze(blocks, [4]);
  const isNone = build.op("Less", [each, build.integers([0])]);
  const found = build.op("Add", [build.op("Mul", [each, build.op("Div", [keys.width, size])]), within]);
  const pieces = build.op("Where", [isNone, build.op("Add", [after, build.integers([afterBlocks.hidden])]), found]);
  const flat = build.op("Reshape", [pieces, build.integers([0, 0, 0, -1])]);
  const outer = build.slice(build.op("Shape", [flat]), 0, 0, 3);
  const apart = build.op("Expand", [
    build.op("Add", [after, build.integers([afterBlocks.apart])]),
    build.concat([outer, build.integers([1])], 0),
  ]);
  return build.op("Add", [build.concat([flat, apart], 3), firstPieces(build, table, after)]);
}

/** Where the pieces of each batch entry and key head begin, int64 [batch, key heads, 1, 1]. */
function firstPieces(build: NodeBuilder, { keys }: ExactTable, after: string): string {
  const shape = build.op("Shape", [keys]);
  const [batch, heads] = [build.slice(shape, 0, 0, 1), build.slice(shape, 0, 1, 2)];
  const each = build.op("Add", [after, build.integers([afterBlocks.count])]);
  const starts = build.op("Mul", [build.range(build.op("Mul", [batch, heads])), each]);
  return build.op("Reshape", [starts, build.concat([batch, heads, build.integers([1, 1])], 0)]);
}
