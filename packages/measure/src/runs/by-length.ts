import { bootstrap } from "./bootstrap.ts";
import type { Estimate } from "../numbers/intervals.ts";

/** The quality on the sequences of one range of lengths. */
export interface LengthBin {
  /** The shortest and the longest length of the range in tokens, special tokens included. */
  readonly from: number;
  readonly to: number;
  readonly sequences: number;
  /**
   * The measure of the whole evaluation, on these sequences: accuracy kept, cosine, agreement or error. Absent if it
   * cannot be computed from them.
   */
  readonly value?: Estimate;
  /** The original's accuracy there, of models that predict tokens. */
  readonly original?: number;
}

/** What each sequence contributes, and the measure of their sums; see {@link bootstrap}. */
export interface Measured {
  readonly sums: Float64Array;
  readonly width: number;
  readonly statistic: (totals: Float64Array) => number;
  readonly original?: (totals: Float64Array) => number;
}

/** The end of the first range in tokens; each further one ends at twice the length. */
const firstEnd = 64;

/**
 * Computes a measure by the length of the sequences: up to 64 tokens, 65 to 128, 129 to 256, and so on. Ranges without
 * sequences are left out.
 *
 * @param lengths - tokens of each sequence.
 * @param seed - seed of the intervals.
 */
export function byLength(lengths: readonly number[], measured: Measured, seed: number): LengthBin[] {
  const { sums, width, statistic, original } = measured;
  const bins = new Map<number, number[]>();
  for (const [index, length] of lengths.entries()) {
    const to = firstEnd * 2 ** Math.max(0, Math.ceil(Math.log2(length / firstEnd)));
    bins.set(to, [...(bins.get(to) ?? []), index]);
  }
  return [...bins]
    .toSorted(([a], [b]) => a - b)
    .map(([to, indices]) => {
      const own = Float64Array.from(indices.flatMap((index) => [...sums.subarray(index * width, (index + 1) * width)]));
      const value = bootstrap(own, width, statistic, seed);
      const totals = Float64Array.from({ length: width }, (_, column) =>
        indices.reduce((sum, index) => sum + sums[index * width + column]!, 0),
      );
      const before = original?.(totals);
      return {
        from: to === firstEnd ? 1 : to / 2 + 1,
        to,
        sequences: indices.length,
        ...([value.value, value.low, value.high].every(Number.isFinite) && { value }),
        ...(before !== undefined && Number.isFinite(before) && { original: before }),
      };
    });
}
