import { MomentAccumulator } from "@favor/core/calibration";
import type { HeadMoments } from "@favor/core/calibration";
import type { MomentTap } from "@favor/rewriter";
import type { Tensor } from "onnxruntime-node";

import { InputError } from "@favor/checkpoints";

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

/** @throws {InputError} `weights-not-finite` unless all are. */
export function finite(values: Float64Array, site: number): Float64Array {
  if (values.every((value) => Number.isFinite(value))) return values;
  throw new InputError(
    `The queries or keys of attention site ${site} are not finite on the calibration data: an earlier weight is NaN or ` +
      `infinite, or the model overflows. Get an undamaged copy of the checkpoint.`,
    { code: "weights-not-finite", details: { site } },
  );
}
