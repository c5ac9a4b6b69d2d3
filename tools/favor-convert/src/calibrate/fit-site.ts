import type { FeatureMapDescription } from "@favor/core";

import type { FavorOptions } from "@favor/report";
import { exactKeysOf } from "./attention-time.ts";
import type { BlockChoice } from "./attention-time.ts";
import type { BesideFit } from "./beside-exact-keys.ts";
import { cheapestOfBest, countCandidates, exactKeyCandidates, isWorthwhile } from "./candidates.ts";
import type { Fixed } from "./candidates.ts";
import type { HeadJob, HeadResult } from "./head-job.ts";
import type { HeadSample } from "./head-sample.ts";
import type { LandmarkFit } from "./landmark-fit.ts";

/** What a site becomes. */
export interface SiteFit {
  /** One per head; none if exact keys are all. */
  readonly featureMaps: FeatureMapDescription[];
  readonly exactKeys?: BlockChoice;
}

export type Run = <Job extends HeadJob>(job: Job) => Promise<HeadResult<Job>>;

/** Fits features to every head; see `fitSites`. */
export async function fitAlone(heads: readonly HeadSample[], options: FavorOptions, run: Run): Promise<SiteFit> {
  const { features, count, refine = 0, projection = "orthogonal", seeds: draws = 1 } = options;
  if (features === "landmark") {
    const fits = await Promise.all(heads.map((head) => run({ ...head, kind: "landmark", count, refine })));
    return { featureMaps: nearer(fits) };
  }
  return {
    featureMaps: await Promise.all(heads.map((head) => run({ ...head, kind: "selection", count, projection, draws }))),
  };
}

/** The longest calibration input has to be so many times longer than its exact keys for features to be chosen by it. */
const leastLength = 2;

/** Features per head where they are not chosen. */
const unseenCount = 64;

/** Without inputs to compare on, the first of these that may be chosen. */
const unseenKeys = { window: 64, chosenBlocks: 0 };

/**
 * Chooses exact keys and the number of features for a site, and fits the features to what the exact keys leave out. All
 * heads get the same, by their mean error on the held-out inputs; see docs/adr/0024-defaults-by-calibration.md.
 *
 * @param longest - tokens of the longest input that is fitted to.
 */
export async function fitBeside(
  heads: readonly HeadSample[],
  fixed: Fixed,
  longest: number,
  refine: number,
  run: Run,
): Promise<SiteFit> {
  const isCompared = heads.every(({ heldOut }) => heldOut.length > 0);
  const candidates = exactKeyCandidates(fixed, longest);
  const exactKeys = await chosenKeys(heads, candidates, isCompared, run);
  // Too few keys would be left to say how many features longer inputs need, or to fit them to.
  const toAllKeys = longest < leastLength * exactKeysOf(exactKeys);
  const isChosen = isCompared && !toAllKeys;
  const counts = isChosen ? countCandidates(fixed, exactKeys) : [fixed.count ?? unseenCount];
  const best = await bestCount(counts, async (few) => {
    const byHead = await Promise.all(
      heads.map((head) => run({ ...head, kind: "beside", exactKeys, counts: few, toAllKeys, refine })),
    );
    return few.map((_, i) => byHead.map((fits) => fits[i]!));
  });
  const dropped = meanOf(best, ({ droppedError }) => droppedError);
  const isDropped = isChosen && fixed.count === undefined && dropped > 0 && !isWorthwhile(errorOf(best), dropped);
  return { featureMaps: isDropped ? [] : nearer(best), exactKeys };
}

/**
 * The fits of all heads with the first number of features that the next one does not improve on enough.
 *
 * @param counts - ascending.
 * @param fitsOf - fits every head for each of some numbers; together they take less time than one by one.
 */
async function bestCount(
  counts: readonly number[],
  fitsOf: (few: readonly number[]) => Promise<readonly (readonly BesideFit[])[]>,
): Promise<readonly BesideFit[]> {
  // Two are needed to compare; further ones seldom are.
  const [first, ...others] = [counts.slice(0, 2), ...counts.slice(2).map((count) => [count])];
  let [best, ...next] = await fitsOf(first!);
  for (;;) {
    for (const fits of next) {
      if (!isWorthwhile(errorOf(fits), errorOf(best!))) return best!;
      best = fits;
    }
    const few = others.shift();
    if (few === undefined) return best!;
    next = [...(await fitsOf(few))];
  }
}

/** The error of the better kind of features. */
function errorOf(fits: readonly BesideFit[]): number {
  return Math.min(
    meanOf(fits, ({ landmarkError }) => landmarkError),
    meanOf(fits, ({ randomError }) => randomError),
  );
}

async function chosenKeys(
  heads: readonly HeadSample[],
  candidates: readonly BlockChoice[],
  isCompared: boolean,
  run: Run,
): Promise<BlockChoice> {
  const [only] = candidates;
  if (candidates.length === 1) return only!;
  if (!isCompared) return candidates.find(isUnseen) ?? only!;
  const errors = await Promise.all(
    heads.map(({ heldOut, moments, causal }) =>
      run({ kind: "survey", inputs: heldOut, dim: moments.dim, candidates, causal }),
    ),
  );
  return candidates[cheapestOfBest(candidates.map((_, i) => meanOf(errors, (each) => each[i]!)))]!;
}

const isUnseen = ({ window, chosenBlocks }: BlockChoice): boolean =>
  window === unseenKeys.window && chosenBlocks === unseenKeys.chosenBlocks;

/**
 * Chooses landmarks, unless random features fit the held-out inputs better, which happens where attention is nearly
 * uniform. All heads of a site get the same kind, so their mean error decides.
 */
function nearer(fits: readonly LandmarkFit[]): FeatureMapDescription[] {
  const excess = meanOf(fits, ({ landmarkError, randomError }) => landmarkError - randomError);
  return fits.map(({ landmark, random }) => (excess > 0 ? random : landmark));
}

function meanOf<T>(all: readonly T[], value: (each: T) => number): number {
  return all.reduce((sum, each) => sum + value(each), 0) / all.length;
}
