import { createFeatureMap } from "@favor/core";
import type { FeatureMapDescription, ProjectionKind } from "@favor/core";
import { attentionError, exactSample, selectSeed } from "@favor/core/calibration";
import type { ExactSample } from "@favor/core/calibration";

import { errorsOfParts, fitBeside, survey } from "./beside-exact-keys.ts";
import type { BesideFit, BesideJob, PartErrors, PartsJob, SurveyJob } from "./beside-exact-keys.ts";
import type { HeadSample } from "./head-sample.ts";
import { fitFeatures } from "./landmark-fit.ts";
import type { LandmarkFit } from "./landmark-fit.ts";
import type { HeadInput } from "./samples.ts";

/** Landmark features: k-means and a fitted core, then `refine` steps of gradient descent. */
interface LandmarkJob extends HeadSample {
  readonly kind: "landmark";
  readonly count: number;
  readonly refine: number;
}

/** Calibrated random features: the best of several draws on the sample. */
interface SelectionJob extends Omit<HeadSample, "heldOut"> {
  readonly kind: "selection";
  readonly count: number;
  readonly projection: ProjectionKind;
  readonly draws: number;
}

/** How far the features of one head are from softmax on a sample. */
interface ErrorJob extends Pick<HeadSample, "inputs" | "causal" | "slope"> {
  readonly kind: "error";
  readonly description: FeatureMapDescription;
}

/** The work on one head, which is the unit that threads share. */
export type HeadJob = LandmarkJob | SelectionJob | ErrorJob | SurveyJob | BesideJob | PartsJob;

/** What each kind of job gives. */
interface Results {
  readonly landmark: LandmarkFit;
  readonly selection: FeatureMapDescription;
  /** The relative error. */
  readonly error: number;
  /** The relative error of each candidate. */
  readonly survey: number[];
  /** One for each number of features. */
  readonly beside: BesideFit[];
  readonly parts: PartErrors;
}

export type HeadResult<Job extends HeadJob> = Results[Job["kind"]];

/**
 * Runs one job. The result depends only on the job.
 *
 * @throws FavorError "degenerate-fit", ArgumentError for invalid inputs.
 */
export function runHeadJob<Job extends HeadJob>(job: Job): HeadResult<Job> {
  return resultOf(job) as HeadResult<Job>;
}

function resultOf(job: HeadJob): Results[HeadJob["kind"]] {
  switch (job.kind) {
    case "landmark":
      return fitHead(job);
    case "selection":
      return selectDraw(job);
    case "error":
      return errorOf(job);
    case "survey":
      return survey(job);
    case "beside":
      return fitBeside(job);
    case "parts":
      return errorsOfParts(job);
  }
}

function selectDraw(job: SelectionJob): FeatureMapDescription {
  const { moments, inputs, causal, slope = 0, count, projection, draws, seed, layer, head } = job;
  const sample = sampleOf(inputs, moments.dim, causal, slope);
  return selectSeed(moments, sample, { count, projection, draws, seed, layer, head }).description;
}

function fitHead(job: LandmarkJob): LandmarkFit {
  const { heldOut, moments, count, refine, seed, layer, head, causal, slope = 0 } = job;
  const options = { seed, layer, head, causal, slope };
  const error = (description: FeatureMapDescription): number => errorOf({ ...job, description, inputs: heldOut });
  const errorOnHeldOut = heldOut.length === 0 ? undefined : error;
  return fitFeatures(job.inputs, moments, [count], options, refine, errorOnHeldOut)[0]!;
}

/** |P_hat - P|_F / |P|_F over the sample. */
function errorOf({ description, inputs, causal, slope = 0 }: Omit<ErrorJob, "kind">): number {
  const featureMap = createFeatureMap(description);
  return attentionError(featureMap, sampleOf(inputs, featureMap.dim, causal, slope)).relative;
}

/** Rows of the attention matrix of one input that are compared, evenly spread over those that were kept. */
const comparedRows = 128;

/** Softmax attention of some rows; of all in causal attention and with ALiBi, where their places count. */
function sampleOf(inputs: readonly HeadInput[], dim: number, causal: boolean, slope: number): ExactSample {
  if (causal || slope > 0) return exactSample(inputs, dim, { causal, slope });
  return exactSample(
    inputs.map(({ query, key }) => ({ query: someRows(query, dim, comparedRows), key })),
    dim,
  );
}

function someRows(x: Float32Array, dim: number, most: number): Float32Array {
  const rows = x.length / dim;
  if (rows <= most) return x;
  const out = new Float32Array(most * dim);
  for (let i = 0; i < most; i++) {
    const row = Math.floor(((i + 0.5) * rows) / most);
    out.set(x.subarray(row * dim, (row + 1) * dim), i * dim);
  }
  return out;
}
