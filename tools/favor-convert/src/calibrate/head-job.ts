import {
  ArgumentError,
  RandomStream,
  createFeatureMap,
  exactAttention,
  favorCausalAttention,
  streamPurpose,
} from "@favor/core";
import {
  attentionError,
  calibrate,
  exactSample,
  fitLandmarks,
  refineLandmarks,
  selectSeed,
} from "@favor/core/calibration";
import type { FeatureMapDescription, ProjectionKind } from "@favor/core";
import type { AttentionInput, HeadMoments } from "@favor/core/calibration";

/** Which head: its features are drawn from the streams with these numbers. */
interface HeadAddress {
  readonly seed: number;
  /** The site's number. */
  readonly layer: number;
  readonly head: number;
}

/** Landmark features: k-means and a fitted core, then `refine` steps of gradient descent. */
export interface LandmarkJob extends HeadAddress {
  readonly kind: "landmark";
  readonly inputs: readonly AttentionInput[];
  /** Inputs that the fit does not see: landmarks and random features are compared on them. */
  readonly heldOut: readonly AttentionInput[];
  readonly moments: HeadMoments;
  readonly count: number;
  readonly refine: number;
  /** Landmarks are refined, and compared with random features, as they will be used: in causal attention, or over all keys. */
  readonly causal: boolean;
}

/** A fit of landmarks beside calibrated random features of the same number, with their errors on the held-out inputs. */
export interface LandmarkFit {
  readonly landmark: FeatureMapDescription;
  readonly random: FeatureMapDescription;
  /** 0 without held-out inputs. */
  readonly landmarkError: number;
  readonly randomError: number;
}

/** Calibrated random features: the best of several draws on the sample. */
export interface SelectionJob extends HeadAddress {
  readonly kind: "selection";
  readonly inputs: readonly AttentionInput[];
  readonly moments: HeadMoments;
  readonly count: number;
  readonly projection: ProjectionKind;
  readonly draws: number;
  /** Draws are compared as they will be used. */
  readonly causal: boolean;
}

/** How far the features of one head are from softmax on a sample. */
export interface ErrorJob {
  readonly kind: "error";
  readonly inputs: readonly AttentionInput[];
  readonly description: FeatureMapDescription;
  readonly causal: boolean;
}

/** What is computed for one head, on its own: the unit of work that threads share. */
export type HeadJob = LandmarkJob | SelectionJob | ErrorJob;

/** A fit of landmarks, a feature map, or for an {@link ErrorJob} the relative error. */
export type HeadResult<Job extends HeadJob> = Job extends LandmarkJob
  ? LandmarkFit
  : Job extends ErrorJob
    ? number
    : FeatureMapDescription;

/**
 * Runs one job. The result depends on the job alone.
 *
 * @throws FavorError "degenerate-fit", ArgumentError for inputs that cannot be right.
 */
export function runHeadJob(job: HeadJob): LandmarkFit | FeatureMapDescription | number {
  switch (job.kind) {
    case "landmark":
      return fitHead(job);
    case "selection":
      return job.causal
        ? selectCausalSeed(job)
        : selectSeed(job.moments, exactSample(job.inputs, job.moments.dim), job).description;
    case "error":
      return errorOf(job);
  }
}

/** The same redraws as those of `selectSeed`, compared in causal attention. */
function selectCausalSeed(job: SelectionJob): FeatureMapDescription {
  const { inputs, draws } = job;
  const calibrated = calibrate(job.moments, job);
  let best: { description: FeatureMapDescription; error: number } | undefined;
  for (let epoch = 0; epoch < draws; epoch++) {
    const description = { ...calibrated, projection: { ...calibrated.projection, epoch } };
    const error = causalError({ description, inputs });
    if (best === undefined || error < best.error) best = { description, error };
  }
  return best?.description ?? calibrated;
}

function fitHead(job: LandmarkJob): LandmarkFit {
  const { inputs, heldOut, moments, refine } = job;
  const fitted = fitLandmarks(inputs, moments, job);
  const refined = refine === 0 ? fitted : refineLandmarks(fitted, inputs, { ...job, steps: refine });
  const random = calibrate(moments, job);
  if (heldOut.length === 0) return { landmark: refined, random, landmarkError: 0, randomError: 0 };
  const error = (description: FeatureMapDescription): number =>
    errorOf({ description, inputs: heldOut, causal: job.causal });
  const [before, after] = [error(fitted), refine === 0 ? Infinity : error(refined)];
  // Refinement follows each query's own distribution, and may lose on the whole: then the fit stays.
  const isNearer = after < before;
  return {
    landmark: isNearer ? refined : fitted,
    random,
    landmarkError: isNearer ? after : before,
    randomError: error(random),
  };
}

const errorOf = (of: Omit<ErrorJob, "kind">): number => (of.causal ? causalError(of) : relativeError(of));

/** |P_hat - P|_F / |P|_F over the sample. */
function relativeError({ description, inputs }: Pick<ErrorJob, "description" | "inputs">): number {
  const featureMap = createFeatureMap(description);
  return attentionError(featureMap, exactSample(inputs, featureMap.dim)).relative;
}

/**
 * The same for causal attention, estimated by what both attentions make of Gaussian values: the mean of |(P_hat - P) V|^2
 * over V is |P_hat - P|_F^2 times V's width, and neither P needs to be written out.
 */
function causalError({ description, inputs }: Pick<ErrorJob, "description" | "inputs">): number {
  const featureMap = createFeatureMap(description);
  const { dim } = featureMap;
  const stream = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
  let squares = 0;
  let norm = 0;
  for (const { query, key } of inputs) {
    if (query.length !== key.length) throw new ArgumentError("inputs", "as many queries as keys", key.length / dim);
    const value = stream.gaussians(key.length);
    const exact = exactAttention(query, key, value, { dim, causal: true });
    const estimate = favorCausalAttention(query, key, value, { featureMap });
    for (let i = 0; i < exact.length; i++) {
      squares += (estimate[i]! - exact[i]!) ** 2;
      norm += exact[i]! ** 2;
    }
  }
  return Math.sqrt(squares / norm);
}
