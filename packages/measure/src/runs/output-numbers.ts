import { InputError } from "@favor/checkpoints";

import { bootstrap } from "./bootstrap.ts";
import { byLength } from "./by-length.ts";
import type { LengthBin } from "./by-length.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { pairedOutputs } from "./paired-outputs.ts";
import { rankCorrelation } from "./rank-correlation.ts";
import type { ModelRunner } from "./runner.ts";

/**
 * Outputs of fewer numbers than this are compared number by number. The cosine of one number is 1 or -1, whatever the
 * number is, and that of a few is close to it by chance.
 */
export const fewNumbers = 4;

/** How far the scores of two models lie apart on the same inputs. */
export interface NumbersComparison {
  readonly output: string;
  /** Compared vectors: one per sequence, or one per token. */
  readonly vectors: number;
  /** Numbers per vector. */
  readonly width: number;
  /**
   * Root mean squared difference by the standard deviation of the original's numbers, over all columns: 0 if the models
   * agree, 1 for a model that always gives the original's mean.
   */
  readonly error: Estimate;
  /** Spearman's rank correlation of the two models' numbers, the mean over the columns; undefined for fewer than three. */
  readonly rankCorrelation?: number | undefined;
  /** The error by the spread of all the original's numbers, so that ranges can be compared. */
  readonly byLength: readonly LengthBin[];
}

/**
 * Compares outputs of a few numbers, such as the score of a reranker or the values of a regression:
 * error^2 = sum_c sum_i (y_ic - x_ic)^2 / sum_c sum_i (x_ic - mean_i x_ic)^2, for x of the original and y of the converted
 * model.
 *
 * @param output - an output that both have, `[batch, width]`, or `[batch, length, width]` at unpadded positions.
 * @throws {InputError} `model-fails-to-run`, also for numbers that are NaN; `data-empty` if the original gives all
 * sequences the same number, so that nothing can be compared.
 */
export async function compareNumbers(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly { readonly ids: readonly number[] }[],
  output: string,
  seed: number,
  tick: (done: number) => void,
): Promise<NumbersComparison> {
  const pairs: { readonly before: Float32Array; readonly after: Float32Array }[] = Array.from({
    length: sequences.length,
  });
  let width = 0;
  for await (const pair of pairedOutputs(original, converted, sequences, output, tick)) {
    width = pair.width;
    pairs[pair.index] = { before: pair.before.slice(), after: pair.after.slice() };
  }
  const column = (values: "before" | "after", at: number): number[] =>
    pairs.flatMap((pair) => [...pair[values]].filter((_, i) => i % width === at));
  const columns = Array.from({ length: width }, (_, at) => [column("before", at), column("after", at)] as const);
  const means = columns.map(([before]) => before.reduce((sum, value) => sum + value, 0) / before.length);
  // Of each sequence: its vectors, squared differences, and of each column the sum and the sum of squares about the mean.
  const sums = new Float64Array(pairs.length * (2 + 2 * width));
  for (const [index, { before, after }] of pairs.entries()) {
    const own = sums.subarray(index * (2 + 2 * width), (index + 1) * (2 + 2 * width));
    own[0] = before.length / width;
    for (const [i, value] of before.entries()) {
      const centred = value - means[i % width]!;
      own[1]! += (after[i]! - value) ** 2;
      own[2 + 2 * (i % width)]! += centred;
      own[3 + 2 * (i % width)]! += centred ** 2;
    }
  }
  const error = (totals: Float64Array): number => {
    const spread = columns.reduce((sum, _, at) => sum + totals[3 + 2 * at]! - totals[2 + 2 * at]! ** 2 / totals[0]!, 0);
    return Math.sqrt(totals[1]! / spread);
  };
  const found = bootstrap(sums, 2 + 2 * width, error, seed);
  if (columns.every(([before]) => before.every((value) => value === before[0])) || !Number.isFinite(found.value)) {
    throw new InputError(
      `The original gives the same numbers "${output}" for all ${pairs.length} sequences, so nothing can be compared. ` +
        `Give data that the model tells apart, or convert without --evaluate.`,
      { code: "data-empty", details: { output, sequences: pairs.length } },
    );
  }
  // Of vectors of one range of lengths, by the mean squared deviation of all.
  const spread = columns.reduce((sum, [before], at) => sum + variance(before, means[at]!), 0);
  const statistic = (totals: Float64Array): number => Math.sqrt(totals[1]! / (totals[0]! * spread));
  const lengths = sequences.map(({ ids }) => ids.length);
  const high = Number.isFinite(found.high) ? found.high : found.value;
  const correlations = columns.flatMap(([before, after]) => rankCorrelation(before, after) ?? []);
  return {
    output,
    vectors: columns[0]![0].length,
    width,
    error: { value: found.value, low: Math.min(found.low, found.value), high: Math.max(high, found.value) },
    ...(correlations.length === width && {
      rankCorrelation: correlations.reduce((sum, value) => sum + value, 0) / width,
    }),
    byLength: byLength(lengths, { sums, width: 2 + 2 * width, statistic }, seed),
  };
}

function variance(values: readonly number[], mean: number): number {
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}
