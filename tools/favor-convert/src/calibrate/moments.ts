import { MomentAccumulator } from "@favor/core/calibration";
import type { HeadMoments } from "@favor/core/calibration";
import type { MomentTap, SampleTap } from "@favor/rewriter";
import type { Tensor } from "onnxruntime-node";

import { InputError } from "@favor/checkpoints";
import type { ModelRunner } from "@favor/measure";
import { gatherSamples } from "./samples.ts";

/**
 * The sums over calibration data from which the means and covariances of queries and keys are computed, by site and head
 * (see `calibrate` of `@favor/core`). Add every sequence once, run alone and unpadded, so that padding never counts.
 */
export class MomentSums {
  /** The outputs that hold the sums. */
  readonly names: readonly string[];
  readonly #taps: readonly MomentTap[];
  // One float64 array per output; moments are computed once at the end.
  readonly #sums = new Map<string, Float64Array>();

  /** @param taps - from `tapSamples` or `tapMoments`; they describe the outputs. */
  constructor(taps: readonly MomentTap[]) {
    this.#taps = taps;
    this.names = taps.flatMap((tap) => Object.values(tap.outputs));
  }

  /** @throws {InputError} `model-fails-to-run` if they are not float32 or float64. */
  add(values: Readonly<Record<string, Tensor>>): void {
    for (const name of this.names) this.#sums.set(name, added(this.#sums.get(name), values[name]!.data));
  }

  /**
   * @returns by site number; `undefined` for sites without a tap.
   * @throws {InputError} `weights-not-finite` if a sum is not finite.
   */
  moments(): (HeadMoments[] | undefined)[] {
    const moments: (HeadMoments[] | undefined)[] = [];
    for (const tap of this.#taps) moments[tap.site] = momentsOf(tap, this.#sums);
    return Array.from(moments);
  }
}

/**
 * The moments that {@link MomentSums} gives, from the queries and keys themselves: for models with a fixed batch size or
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

function added(sum: Float64Array | undefined, data: Tensor["data"]): Float64Array {
  if (!(data instanceof Float32Array) && !(data instanceof Float64Array)) {
    throw new InputError("The model's queries and keys are not float32. Convert it without --calibrate.", {
      code: "model-fails-to-run",
    });
  }
  if (sum === undefined) return Float64Array.from(data);
  for (let i = 0; i < sum.length; i++) sum[i]! += data[i]!;
  return sum;
}

/** The moments of every head of a site, from its sums. */
function momentsOf(tap: MomentTap, sums: ReadonlyMap<string, Float64Array>): HeadMoments[] {
  const { site, heads, dim, outputs } = tap;
  // Not the number of tokens: an encoder's keys, frames and windows have different counts.
  const [[queries], [keys]] = [sums.get(outputs.queryCount)!, sums.get(outputs.keyCount)!];
  return Array.from({ length: heads }, (_, head) => {
    const of = (name: string, size: number): Float64Array =>
      finite(sums.get(name)!.subarray(head * size, (head + 1) * size), site);
    const accumulator = new MomentAccumulator(dim);
    accumulator.addMoments(
      { count: queries!, sum: of(outputs.querySum, dim), gram: of(outputs.queryGram, dim * dim) },
      { count: keys!, sum: of(outputs.keySum, dim), gram: of(outputs.keyGram, dim * dim) },
    );
    return accumulator.moments();
  });
}

function finite(values: Float64Array, site: number): Float64Array {
  if (values.every((value) => Number.isFinite(value))) return values;
  throw new InputError(
    `The queries or keys of attention site ${site} are not finite on the calibration data: an earlier weight is NaN or ` +
      `infinite, or the model overflows. Get an undamaged copy of the checkpoint.`,
    { code: "weights-not-finite", details: { site } },
  );
}
