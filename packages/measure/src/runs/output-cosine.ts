import { bootstrap } from "./bootstrap.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { pairedOutputs } from "./paired-outputs.ts";
import type { ModelRunner } from "./runner.ts";

/** How similar the outputs of two models are on the same inputs. */
export interface CosineComparison {
  /** Compared vectors: one per token, or one per sequence if the output is pooled. */
  readonly vectors: number;
  readonly output: string;
  /** Mean cosine between the two models' vectors. */
  readonly cosine: Estimate;
  /** Mean cosine of each sequence, in their order. */
  readonly perSequence: readonly number[];
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
    for (let start = 0; start < before.length; start += width) sum += cosine(before, after, start, width);
    sums.set([before.length / width, sum], index * 2);
  }
  const perSequence = sequences.map((_, index) => sums[index * 2 + 1]! / sums[index * 2]!);
  return {
    vectors: sums.reduce((total, value, i) => (i % 2 === 0 ? total + value : total), 0),
    output,
    cosine: bootstrap(sums, 2, (totals) => totals[1]! / totals[0]!, seed),
    perSequence,
  };
}

/** Cosine of two vectors of `width` values at `start`; 1 if both are zero, 0 if only one is. */
function cosine(a: Float32Array, b: Float32Array, start: number, width: number): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = start; i < start + width; i++) {
    ab += a[i]! * b[i]!;
    aa += a[i]! * a[i]!;
    bb += b[i]! * b[i]!;
  }
  if (aa === 0 && bb === 0) return 1;
  return aa === 0 || bb === 0 ? 0 : ab / Math.sqrt(aa * bb);
}
