import type { Band } from "../attention/band.ts";
import type { NodeBuilder } from "@favor/onnx/graph";

/** Blocks of queries, and the keys that each block may see. */
export interface BlockWindows {
  /** Number of queries: a list of one integer. */
  readonly length: string;
  /** Positions of the queries of each block, [blocks, block]; those beyond the end are the last once more. */
  readonly queries: string;
  /** Number of these: a list of one integer. */
  readonly rows: string;
  /** Positions of the keys of each block, [blocks, width]; what is out of reach repeats a key and is hidden. */
  readonly keys: string;
  /** Which of these keys each query sees, booleans [batch or 1, heads or 1, blocks, block, width] or [blocks, block, width]. */
  readonly visible: string;
}

export interface Windows extends Omit<BlockWindows, "visible"> {
  /** 0 where a key is visible and far below 0 where it is not, [..., blocks, block, width]. */
  readonly bias: string;
}

/** The longest block is a multiple of this. */
const step = 32;

/** The most queries of a block: about as many as there are positions on the longer side of the band, up to `most`. */
export function longestBlock({ before, after }: Band, most: number): number {
  return Math.min(most, step * Math.max(1, Math.ceil(Math.max(before, after) / step)));
}

/**
 * Cuts a sequence into n = ceil(L / block) blocks of ceil(L / n) queries. The block is about as long as the longer side
 * of the band, so that at least half of the keys that a block reads are seen by each of its queries.
 *
 * @param length a list of one integer
 * @param most queries per block
 * @param keep booleans [batch, heads or 1, 1, keys], or undefined if every key counts
 */
export function windowsOf(
  build: NodeBuilder,
  length: string,
  band: Band,
  most: number,
  keep: string | undefined,
): BlockWindows {
  const { before, after, firstKeys } = band;
  const one = build.integers([1]);
  const longest = longestBlock(band, most);
  const ceil = (value: string, divisor: string): string =>
    build.op("Div", [build.op("Add", [value, build.op("Sub", [divisor, one])]), divisor]);
  const counted = ceil(length, build.integers([longest]));
  const even = ceil(length, build.extreme("Max", [counted, one]));
  const reach = build.op("Add", [even, build.integers([before + after])]);
  // One block of all queries, where each would see as many keys.
  const isLong = build.op("Greater", [length, reach]);
  const count = build.op("Where", [isLong, counted, one]);
  const block = build.op("Where", [isLong, even, length]);
  const width = build.op("Where", [isLong, reach, length]);
  const front = build.op("Where", [isLong, build.integers([before]), build.integers([0])]);

  const starts = build.unsqueeze(build.op("Mul", [build.range(count), block]), [1]);
  const rows = build.range(block);
  const columns = build.op("Sub", [build.range(width), front]);
  const queries = build.op("Add", [starts, build.unsqueeze(rows, [0])]);
  const keys = build.op("Add", [starts, build.unsqueeze(columns, [0])]);
  const distance = build.op("Sub", [build.unsqueeze(columns, [0]), build.unsqueeze(rows, [1])]);
  const isNear = build.op("And", [atLeast(build, distance, -before), atMost(build, distance, after)]);
  const exists = build.op("And", [atLeast(build, keys, firstKeys), build.op("Less", [keys, length])]);
  const near = build.op("And", [isNear, build.unsqueeze(exists, [1])]);
  const last = build.op("Sub", [length, one]);
  const existing = (positions: string): string =>
    build.extreme("Min", [build.extreme("Max", [positions, build.integers([0])]), last]);
  const first = firstKeys === 0 ? undefined : firstColumns(build, { queries, length, count, block }, band);
  const positions = existing(first === undefined ? keys : build.concat([first.keys, keys], 1));
  const within = first === undefined ? near : build.concat([first.visible, near], 2);
  return {
    length,
    queries: existing(queries),
    rows: build.op("Mul", [count, block]),
    keys: positions,
    visible: keep === undefined ? within : build.op("And", [within, keptAt(build, keep, positions)]),
  };
}

/** Which of the keys at these positions count, [batch, heads or 1, blocks, 1, width]. */
function keptAt(build: NodeBuilder, keep: string, positions: string): string {
  return build.transpose(build.op("Gather", [keep, positions], { axis: { int: 3 } }), [0, 1, 3, 2, 4]);
}

/** The first keys as columns of every block: their positions, [blocks, first], and who sees them, [blocks, block, first]. */
function firstColumns(
  build: NodeBuilder,
  { queries, length, count, block }: { queries: string; length: string; count: string; block: string },
  { after, firstKeys }: Band,
): { readonly keys: string; readonly visible: string } {
  const keys = build.integers(Array.from({ length: firstKeys }, (_, at) => at));
  const width = build.integers([firstKeys]);
  const exists = build.op("Less", [keys, length]);
  const seen =
    after > 0
      ? exists
      : build.op("And", [exists, build.op("Not", [build.op("Less", [build.unsqueeze(queries, [2]), keys])])]);
  return {
    keys: build.op("Expand", [keys, build.concat([count, width], 0)]),
    visible: build.op("Expand", [seen, build.concat([count, block, width], 0)]),
  };
}

/** GreaterOrEqual and LessOrEqual came with opset 12. */
function atLeast(build: NodeBuilder, value: string, bound: number): string {
  return build.op("Not", [build.op("Less", [value, build.integers([bound])])]);
}

function atMost(build: NodeBuilder, value: string, bound: number): string {
  return build.op("Not", [build.op("Greater", [value, build.integers([bound])])]);
}
