import { exactKeysOf, timeShare } from "./attention-time.ts";
import type { BlockChoice } from "./attention-time.ts";

/** The length at which time is limited, and the limit, as a share of the time of fused exact attention. */
const timed = { length: 4096, share: 0.5 };

/** Exact keys and numbers of features that calibration chooses among. */
const windows = [32, 64];
const chosen = [0, 4, 6, 8, 16];
const counts = [16, 32, 64, 128];

/** With chosen blocks, at most this share of the longest input's keys is exact: at 512 tokens 6 blocks of 32. */
const exactShare = 0.6;

/** What the user fixed; the rest is chosen. */
export interface Fixed {
  readonly window?: number | undefined;
  readonly chosenBlocks?: number | undefined;
  readonly count?: number | undefined;
}

/**
 * The exact keys to choose among, cheapest first: those of which the time with the fewest features is within the limit, and
 * that leave 40 % of the longest input's keys to features if blocks are chosen. What the user fixed is obeyed.
 *
 * @param longest - tokens of the longest calibration input.
 */
export function exactKeyCandidates({ window, chosenBlocks, count }: Fixed, longest: number): BlockChoice[] {
  const time = (each: BlockChoice): number => timeShare({ ...each, count: count ?? 0 }, timed.length);
  const all = (window === undefined ? windows : [window]).flatMap((width) =>
    (chosenBlocks === undefined ? chosen : [chosenBlocks]).map((blocks) => ({ window: width, chosenBlocks: blocks })),
  );
  const affordable = all.filter((each) => {
    if (each.window === 0) return each.chosenBlocks === 0;
    if (chosenBlocks === undefined && each.chosenBlocks > 0 && exactKeysOf(each) > exactShare * longest) return false;
    return time(each) <= timed.share;
  });
  const usable = affordable.length > 0 ? affordable : all.slice(0, 1);
  return usable.toSorted((a, b) => time(a) - time(b));
}

/** The numbers of features to choose among alongside exact keys, ascending: those within the limit of time. */
export function countCandidates({ count }: Fixed, exactKeys: BlockChoice): readonly number[] {
  if (count !== undefined) return [count];
  const affordable = counts.filter((each) => timeShare({ ...exactKeys, count: each }, timed.length) <= timed.share);
  return affordable.length > 0 ? affordable : counts.slice(0, 1);
}

/** More time is spent only on an error that is smaller by more than this share. */
const worthwhile = 0.03;

/**
 * The number of the candidate to choose: the first whose error is about the least.
 *
 * @param errors - of candidates from the cheapest to the dearest.
 */
export function cheapestOfBest(errors: readonly number[]): number {
  const least = Math.min(...errors);
  return errors.findIndex((error) => !isWorthwhile(least, error));
}

/** Whether an error is so much smaller than another that it is worth more time. */
export function isWorthwhile(error: number, other: number): boolean {
  return error * (1 + worthwhile) < other;
}
