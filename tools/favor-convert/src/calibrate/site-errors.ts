import type { FeatureMapDescription } from "@favor/core";
import type { SampleTap } from "@favor/rewriter";

import type { ModelRunner } from "@favor/measure";
import type { Progress } from "@favor/checkpoints";
import type { SiteError } from "@favor/report";
import type { HeadPool } from "./head-pool.ts";
import { firstRows, gatherSamples } from "./samples.ts";

/** Approximate number of queries on which errors are measured. */
const measuredRows = 1024;

/** A converted site. */
export interface MeasuredSite {
  readonly site: number;
  readonly causal: boolean;
  /** One per head. */
  readonly featureMaps: readonly FeatureMapDescription[];
}

/**
 * Measures how far the linear attention of each site is from softmax, on the original model's queries and keys: the
 * relative error |P_hat - P|_F / |P|_F of the attention matrices, by head. Effects on later layers are not included.
 *
 * @param runner - the model with the outputs of `tapSamples`.
 * @returns by site number; `undefined` for sites without a tap.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function siteErrors(
  runner: ModelRunner,
  taps: readonly SampleTap[],
  sites: readonly MeasuredSite[],
  inputs: readonly (readonly number[])[],
  pool: HeadPool,
  progress: Progress,
): Promise<(SiteError | undefined)[]> {
  const measured = taps.filter((tap) => sites.some(({ site }) => site === tap.site));
  const errors: (SiteError | undefined)[] = [];
  progress.stage(
    "Comparing attention with softmax, by head",
    measured.reduce((sum, { heads }) => sum + heads, 0),
  );
  for await (const group of gatherSamples(runner, measured, firstRows(inputs, measuredRows))) {
    for (const { site, heads } of group) {
      const { featureMaps, causal } = sites.find((each) => each.site === site)!;
      const { slopes } = measured.find((tap) => tap.site === site)!;
      const byHead = await Promise.all(
        heads.map(async (sample, head) => {
          const error = await pool.run({
            kind: "error",
            inputs: sample.flat(),
            description: featureMaps[head]!,
            causal,
            slope: slopes?.[head] ?? 0,
          });
          progress.advance(1);
          return error;
        }),
      );
      errors[site] = {
        mean: byHead.reduce((sum, error) => sum + error, 0) / byHead.length,
        worst: Math.max(...byHead),
        heads: byHead,
      };
    }
  }
  return Array.from(errors);
}
