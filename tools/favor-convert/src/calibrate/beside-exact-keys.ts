import { createFeatureMap } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import { hybridError, hybridSample } from "@favor/core/calibration";
import type { AttentionInput, HybridSample } from "@favor/core/calibration";
import type { ExactKeys } from "@favor/rewriter";

import type { HeadSample } from "./head-sample.ts";
import { fitFeatures } from "./landmark-fit.ts";
import type { LandmarkFit } from "./landmark-fit.ts";
import { inFloat64 } from "./samples.ts";
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
  /** Features M. */
  readonly count: number;
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
  const whole = inputs.map(inFloat64);
  return candidates.map((exactKeys) => errorOf(undefined, sampleOf(whole, dim, exactKeys, causal)));
}

/** @throws FavorError "degenerate-fit". */
export function fitBeside(job: BesideJob): BesideFit {
  const { moments, exactKeys, count, causal, refine, seed, layer, head } = job;
  const [inputs, heldOut] = [job.inputs.map(inFloat64), job.heldOut.map(inFloat64)];
  const { dim } = moments;
  const sample = heldOut.length === 0 ? undefined : sampleOf(heldOut, dim, exactKeys, causal);
  const options = { seed, layer, head, count, causal, ...(!job.toAllKeys && { exactKeys }) };
  const error = sample && ((description: FeatureMapDescription): number => errorOf(description, sample));
  const fit = fitFeatures(inputs, moments, options, refine, error);
  return { ...fit, droppedError: sample ? errorOf(undefined, sample) : 0 };
}

export function errorsOfParts({ inputs, dim, exactKeys, description, causal }: PartsJob): PartErrors {
  const whole = inputs.map(inFloat64);
  const sample = sampleOf(whole, dim, exactKeys, causal);
  const chosen = errorOf(undefined, sample);
  const { window } = exactKeys;
  return {
    near: (exactKeys.chosenBlocks ?? 0) === 0 ? chosen : errorOf(undefined, sampleOf(whole, dim, { window }, causal)),
    chosen,
    whole: errorOf(description, sample),
  };
}

/** The rows of all inputs: hybridSample takes at most 128 of each. */
function sampleOf(inputs: readonly AttentionInput[], dim: number, exactKeys: ExactKeys, causal: boolean): HybridSample {
  return hybridSample(inputs, dim, { exactKeys, causal, rows: 1 << 30 });
}

function errorOf(description: FeatureMapDescription | undefined, sample: HybridSample): number {
  return hybridError(description && createFeatureMap(description), sample).relative;
}
