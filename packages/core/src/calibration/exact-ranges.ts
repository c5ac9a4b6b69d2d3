import {
  blockLogMask,
  blockScorer,
  chosenBlocksOf,
  exactRanges,
  resolveExactKeys,
} from "../attention/hybrid/exact-keys.ts";
import type { BlockScorer, ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { ArgumentError } from "../errors.ts";
import type { AttentionInput } from "./attention-input.ts";

/** Queries, keys and where the queries stand among them. */
interface PlacedInput extends Required<AttentionInput> {
  readonly query: Float64Array;
  readonly key: Float64Array;
}

/** Per query the keys that are exact, as ascending ranges [from, to, ...] below those that it attends to. */
export type RowRanges = readonly (readonly number[])[];

/**
 * The exact keys of the queries at some places, for each of several candidates, cut at the query in causal attention. Rows
 * of a block share theirs. Blocks are scored once for candidates that differ in their number alone.
 */
export function exactRangesOf(
  { query, key, positions }: PlacedInput,
  dim: number,
  places: Uint32Array,
  candidates: readonly (ExactKeysOptions | undefined)[],
  causal: boolean,
): (RowRanges | undefined)[] {
  const keys = key.length / dim;
  const rowsAt = (from: number, to: number): Float64Array => {
    const first = positions.indexOf(from);
    if (first < 0 || positions[first + to - from - 1] !== to - 1) {
      throw new ArgumentError(
        "inputs.positions",
        `all of the queries ${from} to ${to - 1}, which choose blocks`,
        positions,
      );
    }
    return query.subarray(first * dim, (first + to - from) * dim);
  };
  const scorers: { readonly options: ExactKeysOptions; readonly scoresOf: BlockScorer }[] = [];
  return candidates.map((options) => {
    if (options === undefined) return undefined;
    const queries = (options.near ?? true) || causal ? keys : positions.length;
    const exact = resolveExactKeys(options, { queries, keys }, undefined, causal);
    if (exact.window === 0) return Array.from(places, () => []);
    let scoresOf = scorers.find((each) => isScoredAlike(each.options, options))?.scoresOf;
    if (scoresOf === undefined && exact.chosenBlocks > 0) {
      scoresOf = remembered(blockScorer(key, dim, exact, blockLogMask(keys, undefined, exact.first)));
      scorers.push({ options, scoresOf });
    }
    const known = new Map<number, readonly number[]>();
    return Array.from(places, (place) => {
      const block = Math.floor(place / exact.window);
      const ranges =
        known.get(block) ??
        exactRanges(exact, chosenBlocksOf(exact, block, scoresOf?.(block, queries, rowsAt)), block, keys);
      known.set(block, ranges);
      return causal ? cutAt(ranges, place + 1) : ranges;
    });
  });
}

function isScoredAlike(a: ExactKeysOptions, b: ExactKeysOptions): boolean {
  return a.window === b.window && a.near === b.near && a.selector === b.selector && a.queryMask === b.queryMask;
}

/** Scores each block of queries once. */
function remembered(scoresOf: BlockScorer): BlockScorer {
  const known = new Map<number, ReturnType<BlockScorer>>();
  return (block, queries, rows) => {
    if (!known.has(block)) known.set(block, scoresOf(block, queries, rows));
    return known.get(block);
  };
}

/** The parts of ascending ranges below `end`. */
function cutAt(ranges: readonly number[], end: number): readonly number[] {
  const cut: number[] = [];
  for (let at = 0; at < ranges.length && ranges[at]! < end; at += 2) {
    cut.push(ranges[at]!, Math.min(end, ranges[at + 1]!));
  }
  return cut;
}

/** Calls visit for 0..end - 1 but for the numbers within `ranges`. */
export function forEachOther(ranges: readonly number[] | undefined, end: number, visit: (j: number) => void): void {
  let j = 0;
  for (let range = 0; range < (ranges?.length ?? 0); range += 2) {
    for (const to = ranges![range]!; j < to; j++) visit(j);
    j = ranges![range + 1]!;
  }
  for (; j < end; j++) visit(j);
}
