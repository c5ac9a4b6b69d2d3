import type { FeatureMapDescription } from "@favor/core";
import type { ExactKeys, SampleTap } from "@favor/rewriter";
import type { Progress } from "@favor/checkpoints";
import type { SiteError } from "@favor/report";
import type { PartErrors } from "./beside-exact-keys.ts";
import type { HeadPool } from "./head-pool.ts";
import { splitInputs } from "./sampled-rows.ts";
import { gatherSamples } from "./samples.ts";
import type { HeadInput } from "./samples.ts";
import type { TappedModel } from "./tapped-model.ts";

/** Approximate number of queries on which errors are measured. */
const measuredRows = 1024;

/** A converted site. */
export interface MeasuredSite {
  readonly site: number;
  readonly causal: boolean;
  /** One per head; none without far field. */
  readonly featureMaps: readonly FeatureMapDescription[];
  readonly exactKeys: ExactKeys | undefined;
}

/**
 * Measures how far the linear attention of each site is from softmax, on the original model's queries and keys: the
 * relative error |P_hat - P|_F / |P|_F of the attention matrices, by head. Effects on later layers are not included.
 *
 * @returns by site number; `undefined` for sites without a tap.
 * @throws {InputError} `model-fails-to-run`.
 */
export async function siteErrors(
  { runner, taps }: TappedModel,
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
  const { fitted: numbers } = splitInputs(
    inputs.map(({ length }) => length),
    measuredRows,
    0,
  );
  const window = Math.max(...sites.map(({ exactKeys }) => exactKeys?.window ?? 0));
  const sequences = numbers.map((index) => inputs[index]!);
  for await (const group of gatherSamples(runner, measured, sequences, { window, unloads: true })) {
    for (const { site, heads } of group) {
      const measuredSite = sites.find((each) => each.site === site)!;
      const tap = measured.find((each) => each.site === site)!;
      const byHead = await Promise.all(
        heads.map(async (sample, head) => {
          const parts = await partsOf(measuredSite, sample.flat(), head, tap, pool);
          progress.advance(1);
          return parts;
        }),
      );
      const whole = byHead.map((head) => head.whole);
      const mean = (part: (head: Partial<PartErrors>) => number | undefined): number =>
        byHead.reduce((sum, head) => sum + part(head)!, 0) / byHead.length;
      errors[site] = {
        mean: mean((head) => head.whole),
        worst: Math.max(...whole),
        heads: whole,
        ...(measuredSite.exactKeys && {
          parts: { near: mean(({ near }) => near), chosen: mean(({ chosen }) => chosen) },
        }),
      };
    }
  }
  return Array.from(errors);
}

async function partsOf(
  { featureMaps, causal, exactKeys }: MeasuredSite,
  inputs: readonly HeadInput[],
  head: number,
  { dim, slopes }: SampleTap,
  pool: HeadPool,
): Promise<Partial<PartErrors> & Pick<PartErrors, "whole">> {
  const description = featureMaps[head];
  if (exactKeys) return pool.run({ kind: "parts", inputs, dim, exactKeys, description, causal });
  return {
    whole: await pool.run({ kind: "error", inputs, description: description!, causal, slope: slopes?.[head] ?? 0 }),
  };
}
