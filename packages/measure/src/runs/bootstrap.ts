import { RandomStream, streamPurpose } from "@favor/core";

import type { Estimate } from "../numbers/intervals.ts";

/** Stream number of the resampling; see masking.ts. */
const bootstrapStream = 2;

/**
 * Computes a statistic of summed quantities with its 95 % percentile bootstrap interval. Whole sequences are resampled:
 * the tokens of a sequence are not independent, so an interval that counts tokens (such as Wilson's) would be too narrow.
 *
 * @param sums - `[units, width]` row-major: the contribution of each sequence to each of `width` sums.
 * @param statistic - computes the statistic from the `width` sums.
 * @param seed - seed of the resampling.
 * @param resamples - default 1000.
 */
export function bootstrap(
  sums: Float64Array,
  width: number,
  statistic: (totals: Float64Array) => number,
  seed: number,
  resamples = 1000,
): Estimate {
  const units = sums.length / width;
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling, layer: bootstrapStream });
  const totals = new Float64Array(width);
  const add = (unit: number): void => {
    for (let i = 0; i < width; i++) totals[i]! += sums[unit * width + i]!;
  };
  for (let unit = 0; unit < units; unit++) add(unit);
  const value = statistic(totals);
  const values = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    totals.fill(0);
    for (let draw = 0; draw < units; draw++) add(random.integer(units));
    values[resample] = statistic(totals);
  }
  values.sort();
  const at = (share: number): number => values[Math.min(resamples - 1, Math.floor(share * resamples))]!;
  return { value, low: at(0.025), high: at(0.975) };
}

/** The second sum by the first: a mean, if the first counts what the second adds up. For {@link bootstrap}. */
export function ratio(totals: Float64Array): number {
  return totals[1]! / totals[0]!;
}
