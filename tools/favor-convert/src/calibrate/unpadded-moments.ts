import { MomentAccumulator } from "@favor/core/calibration";
import type { HeadMoments } from "@favor/core/calibration";
import type { ModelRunner } from "@favor/measure";
import type { SampleTap } from "@favor/rewriter";
import { finite } from "./moments.ts";
import { gatherSamples } from "./samples.ts";

/**
 * The moments that `MomentSums` gives, from the queries and keys themselves: for models with a fixed batch size or
 * length, whose sums would include padding.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @throws {InputError} `model-fails-to-run`; `weights-not-finite` if a query or key is not finite.
 */
export async function gatherUnpaddedMoments(
  runner: ModelRunner,
  taps: readonly SampleTap[],
  sequences: readonly (readonly number[])[],
  tick: (done: number) => void,
): Promise<(HeadMoments[] | undefined)[]> {
  const accumulators: (MomentAccumulator[] | undefined)[] = [];
  for (const { site, heads, dim } of taps) {
    accumulators[site] = Array.from({ length: heads }, () => new MomentAccumulator(dim));
  }
  for (const ids of sequences) {
    for await (const group of gatherSamples(runner, taps, [ids], { whole: true })) {
      for (const { site, heads } of group) {
        for (const [head, inputs] of heads.entries()) {
          for (const { query, key } of inputs.flat()) {
            accumulators[site]![head]!.add(
              finite(Float64Array.from(query), site),
              finite(Float64Array.from(key), site),
            );
          }
        }
      }
    }
    tick(1);
  }
  return Array.from(accumulators, (heads) => heads?.map((accumulator) => accumulator.moments()));
}
