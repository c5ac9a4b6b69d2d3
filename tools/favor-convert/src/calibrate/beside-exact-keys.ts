import { averagedQueries, createFeatureMap } from "@favor/core";
import type { BlockSelector, ExactKeysOptions, FeatureMapDescription } from "@favor/core";
import { hybridError, hybridSamples } from "@favor/core/calibration";
import type { AttentionInput, HybridSample } from "@favor/core/calibration";
import type { ExactKeys } from "@favor/rewriter";

import type { HeadSample } from "./head-sample.ts";
import { fitFeatures } from "./landmark-fit.ts";
import type { LandmarkFit } from "./landmark-fit.ts";
import type { HeadInput } from "./samples.ts";

/** Compares exact keys by what is lost if all others are dropped. */
export interface SurveyJob {
  readonly kind: "survey";
  readonly inputs: readonly HeadInput[];
  readonly dim: number;
  readonly candidates: readonly ExactKeys[];
  readonly causal: boolean;
}

/** Fits landmarks, and calibrates random features, alongside exact keys. */
export interface BesideJob extends Omit<HeadSample, "slope"> {
  readonly kind: "beside";
  readonly exactKeys: ExactKeys;
  /** Features M: one fit for each. */
  readonly counts: readonly number[];
  /** Whether features are fitted to all keys, because too few are not exact. */
  readonly toAllKeys: boolean;
  readonly refine: number;
}

/** Features alongside exact keys. */
export interface BesideFit extends LandmarkFit {
  /** The error without features. */
  readonly droppedError: number;
}

/** What each part of an attention brings: errors on a sample with the others left out. */
export interface PartsJob {
  readonly kind: "parts";
  readonly inputs: readonly HeadInput[];
  readonly dim: number;
  readonly exactKeys: ExactKeys;
  /** Undefined without far field. */
  readonly description: FeatureMapDescription | undefined;
  readonly causal: boolean;
}

/** Relative errors of the attention matrix; see `hybridError`. */
export interface PartErrors {
  /** The near field alone. */
  readonly near: number;
  /** And the chosen blocks. */
  readonly chosen: number;
  /** And the features for all other keys. */
  readonly whole: number;
}

export function survey({ inputs, dim, candidates, causal }: SurveyJob): number[] {
  return samplesOf(inputs, dim, candidates, causal).map((sample) => errorOf(undefined, sample));
}

/** @throws FavorError "degenerate-fit". */
export function fitBeside(job: BesideJob): BesideFit[] {
  const { moments, exactKeys, counts, causal, refine, seed, layer, head } = job;
  const { inputs, heldOut } = job;
  const [sample] = heldOut.length === 0 ? [] : samplesOf(heldOut, moments.dim, [exactKeys], causal);
  const options = { seed, layer, head, causal, ...(!job.toAllKeys && { exactKeys: inCore(exactKeys) }) };
  const error = sample && ((description: FeatureMapDescription): number => errorOf(description, sample));
  const droppedError = sample ? errorOf(undefined, sample) : 0;
  return fitFeatures(inputs, moments, counts, options, refine, error).map((fit) => ({ ...fit, droppedError }));
}

export function errorsOfParts({ inputs, dim, exactKeys, description, causal }: PartsJob): PartErrors {
  const { window, chosenBlocks = 0 } = exactKeys;
  const [whole, near = whole] = samplesOf(
    inputs,
    dim,
    chosenBlocks === 0 ? [exactKeys] : [exactKeys, { window }],
    causal,
  );
  return { near: errorOf(undefined, near!), chosen: errorOf(undefined, whole!), whole: errorOf(description, whole!) };
}

/** One selector for each size of a group, so that candidates which differ in their number of blocks alone share its scores. */
const selectors = new Map<number, BlockSelector>();

/** What `@favor/core` calls the exact keys of a conversion. */
function inCore({ group, ...others }: ExactKeys): ExactKeysOptions {
  if (group === undefined) return others;
  const selector = selectors.get(group) ?? averagedQueries({ group });
  selectors.set(group, selector);
  return { ...others, selector };
}

/** The rows of all inputs, at most 128 of each, for each candidate. */
function samplesOf(
  inputs: readonly AttentionInput[],
  dim: number,
  candidates: readonly ExactKeys[],
  causal: boolean,
): HybridSample[] {
  return hybridSamples(inputs, dim, candidates.map(inCore), { causal, rows: 1 << 30 });
}

function errorOf(description: FeatureMapDescription | undefined, sample: HybridSample): number {
  return hybridError(description && createFeatureMap(description), sample).relative;
}
