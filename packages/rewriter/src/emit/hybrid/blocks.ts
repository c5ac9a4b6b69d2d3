import type { NodeBuilder } from "@favor/onnx/graph";
import { pad } from "../causal.ts";

/**
 * Queries are averaged in groups of so many to choose blocks. The width of blocks is a multiple of it, except that of one
 * block alone.
 */
export const group = 16;

/** Rows cut into blocks at multiples of a width, the last one padded. All sizes are lists of one integer. */
export interface Blocks {
  /** Rows without padding. */
  readonly length: string;
  readonly width: string;
  /** At least 1. */
  readonly count: string;
  /** count x width. */
  readonly rows: string;
}

/** Cuts rows into blocks of `window`. Fewer rows than that are one block, as wide as they need. */
export function cutBlocks(build: NodeBuilder, length: string, window: number): Blocks {
  const whole = build.extreme("Max", [length, build.integers([1])]);
  const groups = divideUp(build, whole, group);
  const width = build.extreme("Min", [build.op("Mul", [groups, build.integers([group])]), build.integers([window])]);
  const count = divideUp(build, whole, window);
  return { length, width, count, rows: build.op("Mul", [count, width]) };
}

/** ceil(value / divisor) */
export function divideUp(build: NodeBuilder, value: string, divisor: number): string {
  return build.op("Div", [build.op("Add", [value, build.integers([divisor - 1])]), build.integers([divisor])]);
}

/** [batch, heads, length, width] to [batch, heads, blocks, rows per block, width]. */
export function inBlocks(build: NodeBuilder, value: string, blocks: Blocks, filler: number = 0): string {
  const padded = padRows(build, value, blocks, filler);
  return build.op("Reshape", [
    padded,
    build.concat([build.integers([0, 0]), blocks.count, blocks.width, build.integers([-1])], 0),
  ]);
}

/** Pads the rows of [batch, heads, length, width] to whole blocks. */
export function padRows(build: NodeBuilder, value: string, { rows, length }: Blocks, filler: number = 0): string {
  return pad(build, value, 2, build.op("Sub", [rows, length]), filler);
}

/** The numbers of blocks, int64 [1, 1, blocks, 1] for queries, or [1, 1, 1, blocks] for keys. */
export function numbers(build: NodeBuilder, { count }: Blocks, axis: 2 | 3): string {
  return build.unsqueeze(build.range(count), axis === 2 ? [0, 1, 3] : [0, 1, 2]);
}

/** Booleans [1, 1, query blocks, key blocks]: whether two blocks of the same rows touch, or are one. */
export function areNear(build: NodeBuilder, blocks: Blocks): string {
  const distance = build.op("Abs", [build.op("Sub", [numbers(build, blocks, 3), numbers(build, blocks, 2)])]);
  return build.op("Less", [distance, build.integers([2])]);
}
