import { bootstrap, ratio } from "./bootstrap.ts";
import { byLength } from "./by-length.ts";
import type { LengthBin } from "./by-length.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { pairedOutputs } from "./paired-outputs.ts";
import type { ModelRunner } from "./runner.ts";
import { cosine } from "./vectors.ts";

/** How similar the outputs of two models are on the same inputs. */
export interface CosineComparison {
  /** Compared vectors: one per token, or one per sequence if the output is pooled. */
  readonly vectors: number;
  readonly output: string;
  /** Mean cosine between the two models' vectors. */
  readonly cosine: Estimate;
  /** Mean cosine of each sequence, in their order. */
  readonly perSequence: readonly number[];
  readonly byLength: readonly LengthBin[];
}

/**
 * Computes the cosine between the outputs of two models, vector by vector, at unpadded positions.
 *
 * @param output - an output that both have: `[batch, length, width]` or `[batch, width]`.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function compareCosine(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly { readonly ids: readonly number[] }[],
  output: string,
  seed: number,
  tick: (done: number) => void,
): Promise<CosineComparison> {
  const sums = new Float64Array(sequences.length * 2);
  for await (const { index, before, after, width } of pairedOutputs(original, converted, sequences, output, tick)) {
    let sum = 0;
    for (let start = 0; start < before.length; start += width) {
      sum += cosine(before.subarray(start, start + width), after.subarray(start, start + width));
    }
    sums.set([before.length / width, sum], index * 2);
  }
  const perSequence = sequences.map((_, index) => sums[index * 2 + 1]! / sums[index * 2]!);
  const lengths = sequences.map(({ ids }) => ids.length);
  return {
    vectors: sums.reduce((total, value, i) => (i % 2 === 0 ? total + value : total), 0),
    output,
    cosine: bootstrap(sums, 2, ratio, seed),
    perSequence,
    byLength: byLength(lengths, { sums, width: 2, statistic: ratio }, seed),
  };
}
