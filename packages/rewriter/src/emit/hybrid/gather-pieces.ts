import type { NodeBuilder } from "@favor/onnx/graph";
import { numbers, type Blocks } from "./blocks.ts";
import { afterBlocks, piece, type ExactTable } from "./exact-table.ts";

/**
 * The near blocks of each block of queries, int64 [1, 1, blocks, 3]: the one before, its own and the one after, -1 where
 * there is none. Causal: without the last.
 */
export function nearBlocks(build: NodeBuilder, blocks: Blocks, causal: boolean): string {
  const offsets = causal ? [-1, 0] : [-1, 0, 1];
  const near = build.op("Add", [numbers(build, blocks, 2), build.integers(offsets)]);
  if (causal) return near;
  const isThere = build.op("Less", [near, blocks.count]);
  return build.op("Where", [isThere, near, build.integers([-1])]);
}

/** Booleans [1, 1, query blocks, key blocks]: which blocks are not near; in causal attention only past ones. */
export function notNear(build: NodeBuilder, blocks: Blocks, causal: boolean): string {
  const distance = build.op("Sub", [numbers(build, blocks, 3), numbers(build, blocks, 2)]);
  if (causal) return build.op("Less", [distance, build.integers([-1])]);
  return build.op("Greater", [build.op("Abs", [distance]), build.integers([1])]);
}

/**
 * Which pieces of the table each block of queries gathers: those of its blocks, and the one with the first key and the far
 * field. int64 [batch, heads, query blocks, pieces], counted through all batches and key heads.
 *
 * @param blocks int64 [batch, heads, query blocks, exact blocks]; -1 for none
 */
export function piecesOf(build: NodeBuilder, blocks: string, table: ExactTable, keys: Blocks): string {
  const perBlock = keys.width / piece;
  const within = build.integers(Array.from({ length: perBlock }, (_, i) => i));
  const after = build.op("Div", [keys.rows, build.integers([piece])]);
  const each = build.unsqueeze(blocks, [4]);
  const isNone = build.op("Less", [each, build.integers([0])]);
  const found = build.op("Add", [build.op("Mul", [each, build.integers([perBlock])]), within]);
  const hidden = build.op("Add", [after, build.integers([afterBlocks.hidden])]);
  const flat = build.op("Reshape", [build.op("Where", [isNone, hidden, found]), build.integers([0, 0, 0, -1])]);
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
  const outer = build.slice(shape, 0, 0, 2);
  const count = build.op("Mul", [build.slice(shape, 0, 0, 1), build.slice(shape, 0, 1, 2)]);
  const each = build.op("Add", [after, build.integers([afterBlocks.count])]);
  const starts = build.op("Mul", [build.range(count), each]);
  return build.op("Reshape", [starts, build.concat([outer, build.integers([1, 1])], 0)]);
}
