import { createFeatureMap } from "@favor/core";
import type { FeatureMapDescription, ProjectionKind } from "@favor/core";
import {
  attentionError,
  calibrate,
  exactSample,
  fitLandmarks,
  refineLandmarks,
  selectSeed,
} from "@favor/core/calibration";
import type { AttentionInput, HeadMoments } from "@favor/core/calibration";

/** Identifies a head; its features are drawn from the streams with these numbers. */
interface HeadAddress {
  readonly seed: number;
  /** The site's number. */
  readonly layer: number;
  readonly head: number;
}

/** The attention that features are fitted to and compared in. */
interface Attention {
  readonly causal: boolean;
  /** ALiBi's slope. Default 0: none. */
  readonly slope?: number;
}

/** Landmark features: k-means and a fitted core, then `refine` steps of gradient descent. */
interface LandmarkJob extends HeadAddress, Attention {
  readonly kind: "landmark";
  readonly inputs: readonly AttentionInput[];
  /** Inputs that the fit does not see, on which landmarks and random features are compared. */
  readonly heldOut: readonly AttentionInput[];
  readonly moments: HeadMoments;
  readonly count: number;
  readonly refine: number;
}

/** Fitted landmarks and as many calibrated random features, with their errors on the held-out inputs. */
export interface LandmarkFit {
  readonly landmark: FeatureMapDescription;
  readonly random: FeatureMapDescription;
  /** 0 without held-out inputs. */
  readonly landmarkError: number;
  readonly randomError: number;
}

/** Calibrated random features: the best of several draws on the sample. */
interface SelectionJob extends HeadAddress, Attention {
  readonly kind: "selection";
  readonly inputs: readonly AttentionInput[];
  readonly moments: HeadMoments;
  readonly count: number;
  readonly projection: ProjectionKind;
  readonly draws: number;
}

/** How far the features of one head are from softmax on a sample. */
interface ErrorJob extends Attention {
  readonly kind: "error";
  readonly inputs: readonly AttentionInput[];
  readonly description: FeatureMapDescription;
}

/** The work on one head, which is the unit that threads share. */
export type HeadJob = LandmarkJob | SelectionJob | ErrorJob;

/** Fitted landmarks, a feature map, or for an {@link ErrorJob} the relative error. */
export type HeadResult<Job extends HeadJob> = Job extends LandmarkJob
  ? LandmarkFit
  : Job extends ErrorJob
    ? number
    : FeatureMapDescription;

/**
 * Runs one job. The result depends only on the job.
 *
 * @throws FavorError "degenerate-fit", ArgumentError for invalid inputs.
 */
export function runHeadJob(job: HeadJob): LandmarkFit | FeatureMapDescription | number {
  switch (job.kind) {
    case "landmark":
      return fitHead(job);
    case "selection":
      return selectSeed(job.moments, exactSample(job.inputs, job.moments.dim, job), job).description;
    case "error":
      return errorOf(job);
  }
}

function fitHead(job: LandmarkJob): LandmarkFit {
  const { inputs, heldOut, moments, refine } = job;
  const fitted = fitLandmarks(inputs, moments, job);
  const refined = refine === 0 ? fitted : refineLandmarks(fitted, inputs, { ...job, steps: refine });
  const random = calibrate(moments, job);
  if (heldOut.length === 0) return { landmark: refined, random, landmarkError: 0, randomError: 0 };
  const error = (description: FeatureMapDescription): number => errorOf({ ...job, description, inputs: heldOut });
  const [before, after] = [error(fitted), refine === 0 ? Infinity : error(refined)];
  // Refinement follows each query's own distribution and may worsen the whole: then the fit is kept.
  const isNearer = after < before;
  return {
    landmark: isNearer ? refined : fitted,
    random,
    landmarkError: isNearer ? after : before,
    randomError: error(random),
  };
}

/** |P_hat - P|_F / |P|_F over the sample. */
function errorOf({ description, inputs, causal, slope = 0 }: Omit<ErrorJob, "kind">): number {
  const featureMap = createFeatureMap(description);
  return attentionError(featureMap, exactSample(inputs, featureMap.dim, { causal, slope })).relative;
}
