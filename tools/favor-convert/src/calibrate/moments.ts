import { MomentAccumulator } from "@favor/core";
import type { HeadMoments } from "@favor/core";
import type { MomentTap } from "@favor/onnx";

import { InputError } from "../errors.ts";
import { ModelRunner } from "../measure/runner.ts";
import type { RunnerOptions } from "../measure/runner.ts";
import type { TokenSequence } from "../tokens/tokenizer.ts";

/**
 * The means and covariances of queries and keys, by site and head, over real sequences: what calibration needs
 * (calibrated features: see `calibrate` of `@favor/core`). Sequences go one at a time and unpadded, so that every
 * token counts once and no padding does.
 *
 * @param tapped - path of the model with the additional outputs of `tapMoments`.
 * @param taps - what those outputs are.
 * @param tick - called with the number of sequences done.
 * @returns by site number; `undefined` for sites without a tap.
 * @throws {InputError} `model-fails-to-run`; `weights-not-finite` if a sum is not finite.
 */
export async function gatherMoments(
  tapped: string,
  taps: readonly MomentTap[],
  sequences: readonly TokenSequence[],
  options: RunnerOptions,
  tick: (done: number) => void,
): Promise<(HeadMoments[] | undefined)[]> {
  const runner = await ModelRunner.open(tapped, options);
  try {
    const accumulators = taps.map((tap) => Array.from({ length: tap.heads }, () => new MomentAccumulator(tap.dim)));
    const names = taps.flatMap((tap) => Object.values(tap.outputs));
    for (const { ids } of sequences) {
      const values = await runner.runAll([ids], names);
      for (const [index, { site, heads, dim, outputs }] of taps.entries()) {
        const read = (output: string): Float64Array => finiteValues(values[output]!.data, site);
        const [querySum, queryGram] = [read(outputs.querySum), read(outputs.queryGram)];
        const [keySum, keyGram] = [read(outputs.keySum), read(outputs.keyGram)];
        for (let head = 0; head < heads; head++) {
          const sumAt = (all: Float64Array): Float64Array => all.subarray(head * dim, (head + 1) * dim);
          const gramAt = (all: Float64Array): Float64Array => all.subarray(head * dim * dim, (head + 1) * dim * dim);
          accumulators[index]![head]!.addMoments(
            { count: ids.length, sum: sumAt(querySum), gram: gramAt(queryGram) },
            { count: ids.length, sum: sumAt(keySum), gram: gramAt(keyGram) },
          );
        }
      }
      tick(1);
    }
    const moments: (HeadMoments[] | undefined)[] = [];
    for (const [index, { site }] of taps.entries()) {
      moments[site] = accumulators[index]!.map((accumulator) => accumulator.moments());
    }
    return Array.from(moments);
  } finally {
    await runner.close();
  }
}

function finiteValues(data: unknown, site: number): Float64Array {
  if (!(data instanceof Float32Array) && !(data instanceof Float64Array)) {
    throw new InputError(`The moments of attention site ${site} are not floating-point numbers.`, {
      code: "model-fails-to-run",
    });
  }
  const values = Float64Array.from(data);
  if (values.every((value) => Number.isFinite(value))) return values;
  throw new InputError(
    `The queries or keys of attention site ${site} are not finite on the calibration data: a weight before it is NaN ` +
      `or infinite, or the model overflows. Get an undamaged copy of the checkpoint.`,
    { code: "weights-not-finite", details: { site } },
  );
}
