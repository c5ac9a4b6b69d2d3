import { bootstrap, ratio } from "./bootstrap.ts";
import { byLength } from "./by-length.ts";
import type { LengthBin } from "./by-length.ts";
import type { Estimate } from "../numbers/intervals.ts";
import { pairedOutputs } from "./paired-outputs.ts";
import type { ModelRunner } from "./runner.ts";

/** How a classifier decides: for the class with the highest score, or for every class with a score above 0. */
export type Decision = "one class" | "several classes";

/** How often two classifiers decide alike on the same inputs. */
export interface ClassificationComparison {
  readonly output: string;
  /** Number of classes. */
  readonly classes: number;
  readonly decision: Decision;
  /** Decisions: one per sequence, or one per token. */
  readonly vectors: number;
  /** Share of the decisions in which both models agree. */
  readonly agreement: Estimate;
  /** Share of the original's most common decision: a model that always makes it agrees as often. */
  readonly commonest: number;
  readonly byLength: readonly LengthBin[];
}

/**
 * Compares the decisions of two classifiers.
 *
 * @param output - an output that both have: `[batch, classes]`, or `[batch, length, classes]` at unpadded positions.
 * @throws {InputError} `model-fails-to-run`, also for numbers that are not finite.
 */
export async function compareDecisions(
  original: ModelRunner,
  converted: ModelRunner,
  sequences: readonly { readonly ids: readonly number[] }[],
  { output, decision }: { readonly output: string; readonly decision: Decision },
  seed: number,
  tick: (done: number) => void,
): Promise<ClassificationComparison> {
  const sums = new Float64Array(sequences.length * 2);
  const counts = new Map<string, number>();
  let classes = 0;
  for await (const { index, before, after, width } of pairedOutputs(original, converted, sequences, output, tick)) {
    classes = width;
    for (let start = 0; start < before.length; start += width) {
      const [was, is] = [before, after].map((scores) => decided(scores.subarray(start, start + width), decision));
      sums[index * 2]!++;
      if (was === is) sums[index * 2 + 1]!++;
      counts.set(was!, (counts.get(was!) ?? 0) + 1);
    }
  }
  const vectors = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const lengths = sequences.map(({ ids }) => ids.length);
  return {
    output,
    classes,
    decision,
    vectors,
    agreement: bootstrap(sums, 2, ratio, seed),
    commonest: Math.max(...counts.values()) / vectors,
    byLength: byLength(lengths, { sums, width: 2, statistic: ratio }, seed),
  };
}

/** The decision as a text that equal decisions share. */
function decided(scores: Float32Array, decision: Decision): string {
  if (decision === "several classes") return scores.map((score) => Number(score > 0)).join("");
  let best = 0;
  for (const [at, score] of scores.entries()) if (score > scores[best]!) best = at;
  return String(best);
}
