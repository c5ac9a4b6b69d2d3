import type { Pooling } from "@favor/checkpoints/node";

import { bootstrap, ratio } from "./bootstrap.ts";
import { byLength } from "./by-length.ts";
import type { LengthBin } from "./by-length.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { compareNeighbours } from "./neighbours.ts";
import type { NeighbourComparison } from "./neighbours.ts";
import { pairedOutputs } from "./paired-outputs.ts";
import { pooled } from "./pooling.ts";
import type { ModelRunner } from "./runner.ts";
import { cosine } from "./vectors.ts";

/** The output that holds embeddings, and how they are made of it. */
export interface EmbeddingOutput {
  readonly output: string;
  /** How vectors of tokens become one; absent if the graph does it. */
  readonly pooling?: Pick<Pooling, "modes" | "after" | "configured">;
  readonly similarity: Pooling["similarity"];
}

/** How similar the embeddings of texts are in two models, and whether a search finds the same. */
export interface EmbeddingComparison extends EmbeddingOutput {
  /** Compared embeddings: one per text. */
  readonly vectors: number;
  /** Numbers per embedding. */
  readonly width: number;
  /** Mean cosine between the two models' embeddings of a text. */
  readonly cosine: Estimate;
  /** The cosine of each text, in their order. */
  readonly perSequence: readonly number[];
  /** Absent for fewer than three texts. */
  readonly neighbours?: NeighbourComparison;
  readonly byLength: readonly LengthBin[];
}

/**
 * Compares the embeddings that two models make of the same texts: each with its counterpart, and by which texts are near
 * each other.
 *
 * @throws {InputError} `model-fails-to-run`, also for numbers that are not finite.
 */
export async function compareEmbeddings(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly { readonly ids: readonly number[] }[],
  from: EmbeddingOutput,
  seed: number,
  tick: (done: number) => void,
): Promise<EmbeddingComparison> {
  const { output, pooling, similarity } = from;
  const pairs: { readonly before: Float64Array; readonly after: Float64Array }[] = Array.from({
    length: sequences.length,
  });
  for await (const { index, before, after, width } of pairedOutputs(original, converted, sequences, output, tick)) {
    const embed = (vectors: Float32Array): Float64Array =>
      pooling === undefined ? Float64Array.from(vectors) : pooled(vectors, width, pooling.modes);
    pairs[index] = { before: embed(before), after: embed(after) };
  }
  const perSequence = pairs.map(({ before, after }) => cosine(before, after));
  const sums = Float64Array.from(perSequence.flatMap((value) => [1, value]));
  const neighbours = compareNeighbours(
    pairs.map(({ before }) => before),
    pairs.map(({ after }) => after),
    similarity,
    seed,
  );
  const lengths = sequences.map(({ ids }) => ids.length);
  return {
    ...from,
    vectors: pairs.length,
    width: pairs[0]!.before.length,
    cosine: bootstrap(sums, 2, ratio, seed),
    perSequence,
    ...(neighbours !== undefined && { neighbours }),
    byLength: byLength(lengths, { sums, width: 2, statistic: ratio }, seed),
  };
}
