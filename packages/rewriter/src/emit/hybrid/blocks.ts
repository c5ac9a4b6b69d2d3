import type { NodeBuilder } from "@favor/onnx/graph";
import { pad } from "../chunks.ts";

/** Rows cut into blocks at multiples of a width; the last one is padded. Sizes in the graph are lists of one integer. */
export interface Blocks {
  /** Rows without padding. */
  readonly length: string;
  readonly width: number;
  readonly count: string;
  /** count x width. */
  readonly rows: string;
}

export function cutBlocks(build: NodeBuilder, length: string, width: number): Blocks {
  const less = build.op("Add", [length, build.integers([width - 1])]);
  const count = build.op("Div", [less, build.integers([width])]);
  return { length, width, count, rows: build.op("Mul", [count, build.integers([width])]) };
}

/** [batch, heads, length, width] to [batch, heads, blocks, rows per block, width]. */
export function inBlocks(build: NodeBuilder, value: string, blocks: Blocks, filler: number = 0): string {
  const shape = [build.integers([0, 0]), blocks.count, build.integers([blocks.width, -1])];
  return build.op("Reshape", [padRows(build, value, blocks, filler), build.concat(shape, 0)]);
}

/** Pads the rows of [batch, heads, length, width] to whole blocks. */
export function padRows(build: NodeBuilder, value: string, { rows, length }: Blocks, filler: number = 0): string {
  return pad(build, value, 2, build.op("Sub", [rows, length]), filler);
}

/**
 * The numbers of the rows of each block, counted through [groups x length, width], int64 [groups x blocks, rows per block]. A
 * row that is none repeats the last one.
 *
 * @param groups batches times heads, a list of one integer
 */
export function rowNumbers(build: NodeBuilder, groups: string, { length, width, rows }: Blocks): string {
  const last = build.op("Sub", [length, build.integers([1])]);
  const within = build.extreme("Min", [build.range(rows), last]);
  const starts = build.unsqueeze(build.op("Mul", [build.range(groups), length]), [1]);
  return build.op("Reshape", [build.op("Add", [starts, within]), build.integers([-1, width])]);
}

/** [batch, heads, 1, length] to [batch, heads, length, 1]. */
export function asColumn(build: NodeBuilder, row: string): string {
  return build.transpose(row, [0, 1, 3, 2]);
}

/** The numbers of blocks, int64: [1, 1, blocks, 1] for queries, or [1, 1, 1, blocks] for keys. */
export function numbers(build: NodeBuilder, { count }: Blocks, axis: 2 | 3): string {
  return build.unsqueeze(build.range(count), axis === 2 ? [0, 1, 3] : [0, 1, 2]);
}
