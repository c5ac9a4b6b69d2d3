import type { FeatureMapDescription, HeadMoments } from "@favor/core";
import type { SampleTap } from "@favor/onnx";

import type { ModelRunner } from "../measure/runner.ts";
import type { Progress } from "../progress/progress.ts";
import type { FavorOptions } from "../report/favor-file.ts";
import type { HeadJob } from "./head-job.ts";
import type { HeadPool } from "./head-pool.ts";
import { firstRows, gatherSamples } from "./samples.ts";

/** Queries that a fit sees, about: `fitLandmarks` takes 2560 of them; refinement takes others at every step. */
const fittedRows = 3072;

/** Queries that draws are chosen on: each draw is compared with softmax on all of them. */
const selectionRows = 512;

/**
 * The feature maps of every head of the tapped sites, fitted to a sample of its queries and keys; each head alone, in
 * threads. The result does not depend on the number of threads.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @param moments - by site, of all calibration data.
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
  const sequences = firstRows(inputs, features === "landmark" ? fittedRows : selectionRows);
  for await (const group of gatherSamples(runner, taps, sequences)) {
    const jobs = group.map(async ({ site, heads }) => {
      featureMaps[site] = await Promise.all(
        heads.map(async (sample, head) => {
          const given = { inputs: sample, moments: moments[site]![head]!, count, seed, layer: site, head };
          const job: Exclude<HeadJob, { kind: "error" }> =
            features === "landmark"
              ? { ...given, kind: "landmark", refine }
              : { ...given, kind: "selection", projection, draws };
          const description = await pool.run(job);
          progress.advance(1);
          return description;
        }),
      );
    });
    await Promise.all(jobs);
  }
  return Array.from(featureMaps);
}
