import { MomentAccumulator } from "@favor/core";
import type { HeadMoments } from "@favor/core";
import type { MomentTap } from "@favor/onnx";
import type { Tensor } from "onnxruntime-node";

import { InputError } from "../errors.ts";
import type { ModelRunner } from "../measure/runner.ts";

/**
 * The means and covariances of queries and keys, by site and head, over real sequences: what calibration needs
 * (calibrated features: see `calibrate` of `@favor/core`). Sequences go one at a time and unpadded, so that every
 * token counts once and no padding does.
 *
 * @param runner - the model with the additional outputs of `tapMoments`.
 * @param taps - what those outputs are.
 * @param tick - called with the number of sequences done.
 * @returns by site number; `undefined` for sites without a tap.
 * @throws {InputError} `model-fails-to-run`; `weights-not-finite` if a sum is not finite.
 */
export async function gatherMoments(
  runner: ModelRunner,
  taps: readonly MomentTap[],
  sequences: readonly (readonly number[])[],
  tick: (done: number) => void,
): Promise<(HeadMoments[] | undefined)[]> {
  // Sums add up: one float64 array an output over all sequences, and the moments once at the end.
  const sums = new Map<string, Float64Array>();
  const names = taps.flatMap((tap) => Object.values(tap.outputs));
  let tokens = 0;
  for (const ids of sequences) {
    const values = await runner.runAll([ids], names);
    for (const name of names) sums.set(name, added(sums.get(name), values[name]!.data));
    tokens += ids.length;
    tick(1);
  }
  const moments: (HeadMoments[] | undefined)[] = [];
  for (const tap of taps) moments[tap.site] = momentsOf(tap, sums, tokens);
  return Array.from(moments);
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

/** The moments of every head of a site, from its sums over `tokens` tokens. */
function momentsOf(tap: MomentTap, sums: ReadonlyMap<string, Float64Array>, tokens: number): HeadMoments[] {
  const { site, heads, dim, outputs } = tap;
  return Array.from({ length: heads }, (_, head) => {
    const of = (name: string, size: number): Float64Array =>
      finite(sums.get(name)!.subarray(head * size, (head + 1) * size), site);
    const accumulator = new MomentAccumulator(dim);
    accumulator.addMoments(
      { count: tokens, sum: of(outputs.querySum, dim), gram: of(outputs.queryGram, dim * dim) },
      { count: tokens, sum: of(outputs.keySum, dim), gram: of(outputs.keyGram, dim * dim) },
    );
    return accumulator.moments();
  });
}

function finite(values: Float64Array, site: number): Float64Array {
  if (values.every((value) => Number.isFinite(value))) return values;
  throw new InputError(
    `The queries or keys of attention site ${site} are not finite on the calibration data: a weight before it is NaN ` +
      `or infinite, or the model overflows. Get an undamaged copy of the checkpoint.`,
    { code: "weights-not-finite", details: { site } },
  );
}
