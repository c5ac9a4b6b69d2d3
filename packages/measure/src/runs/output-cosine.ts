import { batchesOf } from "./batches.ts";
import { bootstrap } from "./bootstrap.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { notFinite } from "./runner.ts";
import type { BatchOutput, ModelRunner } from "./runner.ts";

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
  for (const { indices, length } of batchesOf(sequences, original)) {
    const rows = indices.map((index) => sequences[index]!.ids);
    const a = await original.run(rows, output, length);
    const b = await converted.run(rows, output, length);
    for (const [row, index] of indices.entries()) {
      const vectors = a.perToken ? rows[row]!.length : 1;
      let sum = 0;
      if (!allFinite(a, row, vectors)) throw notFinite(original, output);
      if (!allFinite(b, row, vectors)) throw notFinite(converted, output);
      for (let at = 0; at < vectors; at++) sum += cosine(a.data, b.data, (row * a.length + at) * a.width, a.width);
      sums.set([vectors, sum], index * 2);
    }
    tick(indices.length);
  }
  const perSequence = sequences.map((_, index) => sums[index * 2 + 1]! / sums[index * 2]!);
  return {
    vectors: sums.reduce((total, value, i) => (i % 2 === 0 ? total + value : total), 0),
    output,
    cosine: bootstrap(sums, 2, (totals) => totals[1]! / totals[0]!, seed),
    perSequence,
  };
}

function allFinite({ data, length, width }: BatchOutput, row: number, vectors: number): boolean {
  return data.subarray(row * length * width, (row * length + vectors) * width).every(Number.isFinite);
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
