import type { FeatureMapDescription } from "@favor/core";
import type { HeadMoments } from "@favor/core/calibration";
import type { ConvertOptions, ExactKeys } from "@favor/rewriter";

import type { Progress } from "@favor/checkpoints";
import type { FavorOptions } from "@favor/report";
import type { Fixed } from "./candidates.ts";
import { fitAlone, fitBeside } from "./fit-site.ts";
import type { Run } from "./fit-site.ts";
import type { HeadPool } from "./head-pool.ts";
import { MomentSums } from "./moments.ts";
import { longInputs, splitInputs } from "./sampled-rows.ts";
import { gatherSamples } from "./samples.ts";
import type { SiteSample } from "./samples.ts";
import type { TappedModel } from "./tapped-model.ts";
import { gatherUnpaddedMoments } from "./unpadded-moments.ts";

/** Approximate number of queries per fit. `fitLandmarks` uses 2560 of them; refinement uses others at every step. */
const fittedRows = 3072;

/** Approximate number of queries on which each draw is compared with softmax, and each fit with others. */
const selectionRows = 512;

/** Moments of all calibration data, and feature maps, both by site number; `undefined` for sites without a tap. */
export type Fitted = Required<Pick<ConvertOptions, "moments">> & Pick<ConvertOptions, "featureMaps" | "exactKeys">;

/** What to fit for one conversion. */
export interface FitPlan {
  readonly options: FavorOptions;
  /** For a site that gets exact keys, what is fixed of them; the rest is chosen. */
  readonly fixedOf: (site: number) => Fixed | undefined;
}

/**
 * Runs the model on the calibration data, and fits the feature map of every head of the tapped sites to a sample of its
 * queries and keys. Heads are fitted separately, in threads; the result does not depend on the number of threads. If
 * calibrated random features suit a site better than landmarks, it gets those.
 *
 * @param plans - one for each conversion that is made from this calibration. They have the same kind of features and the
 * same seed.
 * @returns what was fitted, in the order of the plans.
 * @throws {InputError} `model-fails-to-run`, `weights-not-finite`; FavorError "degenerate-fit".
 */
export async function fitSites(
  tapped: TappedModel,
  inputs: readonly (readonly number[])[],
  plans: readonly [FitPlan, ...FitPlan[]],
  pool: HeadPool,
  progress: Progress,
): Promise<Fitted[]> {
  const { taps } = tapped;
  const [{ options: first }] = plans;
  const isLandmark = first.features === "landmark";
  const isFitted = isLandmark || (first.seeds ?? 1) > 1;
  const lengths = inputs.map(({ length }) => length);
  const split = splitInputs(
    lengths,
    !isFitted ? 0 : isLandmark ? fittedRows : selectionRows,
    isLandmark ? selectionRows : 0,
    plans.some((plan) => hasExactKeys(plan, taps)) ? longInputs(lengths) : undefined,
  );
  const { fitted } = split;
  progress.stage("Calibrating", inputs.length);
  const { runner } = tapped;
  const isPadded = runner.fixedLength !== undefined || runner.fixedBatch !== undefined;
  const sums = isPadded ? undefined : new MomentSums(tapped.sums);
  const sampled = [...fitted, ...split.heldOut];
  const gathered = await gatherMoments(tapped, inputs, sampled, sums, progress);
  if (!isFitted) return plans.map(() => ({ moments: gathered ?? sums!.moments() }));

  const results = plans.map((plan) => ({
    ...plan,
    featureMaps: [] as (FeatureMapDescription[] | undefined)[],
    exactKeys: [] as (ExactKeys | undefined)[],
  }));
  let moments = gathered;
  const longest = Math.max(0, ...fitted.map((index) => lengths[index]!));
  const counted: Run = async (job) => {
    const result = await pool.run(job);
    if (job.kind !== "survey" && job.kind !== "beside") progress.advance(1);
    return result;
  };
  const fitSite = async ({ site, heads }: SiteSample): Promise<void> => {
    const { causal, slopes } = taps.find((tap) => tap.site === site)!;
    const addressed = heads.map((sample, head) => ({
      inputs: sample.slice(0, fitted.length).flat(),
      heldOut: sample.slice(fitted.length).flat(),
      moments: moments![site]![head]!,
      seed: first.seed,
      layer: site,
      head,
      causal,
      slope: slopes?.[head] ?? 0,
    }));
    const fitResult = async ({ options, fixedOf, featureMaps, exactKeys }: (typeof results)[number]): Promise<void> => {
      const fixed = fixedOf(site);
      const fit =
        fixed === undefined
          ? await fitAlone(addressed, options, counted)
          : await fitBeside(addressed, fixed, longest, options.refine ?? 0, counted);
      if (fixed !== undefined) progress.advance(heads.length);
      featureMaps[site] = fit.featureMaps;
      exactKeys[site] = fit.exactKeys;
    };
    await Promise.all(results.map(fitResult));
  };
  const sequences = sampled.map((index) => inputs[index]!);
  const window = Math.max(...plans.map((plan) => widthOf(plan, taps)));
  const gathering = {
    seed: first.seed,
    window,
    unloads: true,
    ...(sums && { sums }),
    tick: (done: number) => progress.advance(done),
  };
  for await (const group of gatherSamples(runner, taps, sequences, gathering)) {
    // The first group completes the sums.
    if (moments === undefined) {
      moments = sums!.moments();
      progress.stage(
        isLandmark ? "Fitting landmarks, by head" : "Choosing among draws, by head",
        plans.length * taps.reduce((sum, { heads }) => sum + heads, 0),
      );
    }
    await Promise.all(group.map(fitSite));
  }
  return results.map(({ featureMaps, exactKeys }) => ({
    moments: moments!,
    featureMaps: Array.from(featureMaps),
    exactKeys: Array.from(exactKeys),
  }));
}

/** The width of a plan's blocks of exact keys; 0 if there are none, or if it is not chosen yet. */
function widthOf(plan: FitPlan, taps: TappedModel["taps"]): number {
  return hasExactKeys(plan, taps) ? (plan.options.window ?? 0) : 0;
}

function hasExactKeys({ fixedOf }: FitPlan, taps: TappedModel["taps"]): boolean {
  return taps.some(({ site }) => fixedOf(site) !== undefined);
}

/** Sums up the inputs that are not sampled; in a model of fixed size, computes all moments. */
async function gatherMoments(
  { runner, taps }: TappedModel,
  inputs: readonly (readonly number[])[],
  sampled: readonly number[],
  sums: MomentSums | undefined,
  progress: Progress,
): Promise<readonly (readonly HeadMoments[] | undefined)[] | undefined> {
  if (sums === undefined) return gatherUnpaddedMoments(runner, taps, inputs, (done) => progress.advance(done));
  const known = new Set(sampled);
  for (const [index, ids] of inputs.entries()) {
    if (known.has(index)) continue;
    sums.add(await runner.runAll([ids], sums.names));
    progress.advance(1);
  }
  return undefined;
}
