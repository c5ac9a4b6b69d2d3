import { batchesOf } from "./batches.ts";
import { notFinite } from "./runner.ts";
import type { ModelRunner } from "./runner.ts";

/** The outputs of two models for one sequence. */
export interface PairedOutputs {
  /** The sequence's place among those given. */
  readonly index: number;
  /** `[vectors, width]` of the original: a vector per token, or one for the sequence. Padding is left out. */
  readonly before: Float32Array;
  /** The same of the converted model. */
  readonly after: Float32Array;
  readonly width: number;
}

/**
 * Runs two models on the same sequences, batch by batch; the pairs come in the order of the batches.
 *
 * @param output - an output that both have.
 * @param tick - called after each batch, with its number of sequences.
 * @throws {InputError} `model-fails-to-run`, also for numbers that are not finite.
 */
export async function* pairedOutputs(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly { readonly ids: readonly number[] }[],
  output: string,
  tick: (done: number) => void,
): AsyncGenerator<PairedOutputs, void> {
  for (const { indices, length } of batchesOf(sequences, original)) {
    const rows = indices.map((index) => sequences[index]!.ids);
    const a = await original.run(rows, output, length);
    const b = await converted.run(rows, output, length);
    const { width } = a;
    for (const [row, index] of indices.entries()) {
      const start = row * a.length * width;
      const end = start + (a.perToken ? rows[row]!.length : 1) * width;
      const [before, after] = [a.data.subarray(start, end), b.data.subarray(start, end)];
      if (!before.every(Number.isFinite)) throw notFinite(original, output);
      if (!after.every(Number.isFinite)) throw notFinite(converted, output);
      yield { index, before, after, width };
    }
    tick(indices.length);
  }
}
