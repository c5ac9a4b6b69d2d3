import type { FeatureMapDescription } from "@favor/core";
import type { HeadMoments } from "@favor/core/calibration";
import type { SampleTap } from "@favor/rewriter";

import type { ModelRunner } from "@favor/measure";
import type { Progress } from "@favor/checkpoints";
import type { FavorOptions } from "@favor/report";
import type { HeadJob, HeadResult, LandmarkFit } from "./head-job.ts";
import type { HeadPool } from "./head-pool.ts";
import { firstRows, gatherSamples } from "./samples.ts";

/** Approximate number of queries per fit. `fitLandmarks` uses 2560 of them; refinement uses others at every step. */
const fittedRows = 3072;

/** Approximate number of queries on which each draw is compared with softmax. */
const selectionRows = 512;

/**
 * Fits the feature map of every head of the tapped sites to a sample of its queries and keys. Heads are fitted separately,
 * in threads; the result does not depend on the number of threads. If calibrated random features suit a site better than
 * landmarks, it gets those.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @param moments - moments of all calibration data, by site.
 * @returns by site number; `undefined` for sites without a tap.
 * @throws {InputError} `model-fails-to-run`; FavorError "degenerate-fit".
 */
export async function fitSites(
  runner: ModelRunner,
  taps: readonly SampleTap[],
  moments: readonly (readonly HeadMoments[] | undefined)[],
  inputs: readonly (readonly number[])[],
  options: FavorOptions,
  pool: HeadPool,
  progress: Progress,
): Promise<(FeatureMapDescription[] | undefined)[]> {
  const { features, count, seed, projection = "orthogonal", refine = 0, seeds: draws = 1 } = options;
  const featureMaps: (FeatureMapDescription[] | undefined)[] = [];
  progress.stage(
    features === "landmark" ? "Fitting landmarks, by head" : "Choosing among draws, by head",
    taps.reduce((sum, { heads }) => sum + heads, 0),
  );
  const isLandmark = features === "landmark";
  const fitted = firstRows(inputs, isLandmark ? fittedRows : selectionRows);
  const heldOut = isLandmark ? firstRows(inputs.slice(fitted.length), selectionRows) : [];
  for await (const group of gatherSamples(runner, taps, [...fitted, ...heldOut])) {
    const jobs = group.map(async ({ site, heads }) => {
      const { causal, slopes } = taps.find((tap) => tap.site === site)!;
      const addressed = heads.map((sample, head) => ({
        inputs: sample.slice(0, fitted.length).flat(),
        heldOut: sample.slice(fitted.length).flat(),
        moments: moments[site]![head]!,
        count,
        seed,
        layer: site,
        head,
        causal,
        slope: slopes?.[head] ?? 0,
      }));
      featureMaps[site] = isLandmark
        ? nearer(await Promise.all(addressed.map((head) => run({ ...head, kind: "landmark", refine }, pool, progress))))
        : await Promise.all(
            addressed.map((head) => run({ ...head, kind: "selection", projection, draws }, pool, progress)),
          );
    });
    await Promise.all(jobs);
  }
  return Array.from(featureMaps);
}

/**
 * Chooses landmarks, unless random features fit the held-out inputs better, which happens where attention is nearly
 * uniform. All heads of a site get the same kind, so their mean error decides.
 */
function nearer(fits: readonly LandmarkFit[]): FeatureMapDescription[] {
  const excess = fits.reduce((sum, { landmarkError, randomError }) => sum + landmarkError - randomError, 0);
  return fits.map(({ landmark, random }) => (excess > 0 ? random : landmark));
}

async function run<Job extends HeadJob>(job: Job, pool: HeadPool, progress: Progress): Promise<HeadResult<Job>> {
  const result = await pool.run(job);
  progress.advance(1);
  return result;
}
