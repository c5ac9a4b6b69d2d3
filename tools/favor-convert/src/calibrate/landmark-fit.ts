import type { FeatureMapDescription } from "@favor/core";
import { calibrate, landmarkFitter, refineLandmarks } from "@favor/core/calibration";
import type { AttentionInput, FitLandmarksOptions, HeadMoments } from "@favor/core/calibration";

/** What fitting and refining have in common. */
type LandmarkOptions = Pick<FitLandmarksOptions, "seed" | "layer" | "head" | "causal" | "exactKeys" | "slope">;

/** Fitted landmarks and as many calibrated random features, with their errors on held-out inputs. */
export interface LandmarkFit {
  readonly landmark: FeatureMapDescription;
  readonly random: FeatureMapDescription;
  /** 0 without held-out inputs. */
  readonly landmarkError: number;
  readonly randomError: number;
}

/**
 * Fits landmarks, refines them by `refine` steps of gradient descent, and draws as many calibrated random features.
 *
 * @param counts - numbers of features; one fit for each.
 * @param error - of features on the held-out inputs; undefined if there are none.
 * @throws FavorError "degenerate-fit".
 */
export function fitFeatures(
  inputs: readonly AttentionInput[],
  moments: HeadMoments,
  counts: readonly number[],
  options: LandmarkOptions,
  refine: number,
  error?: (description: FeatureMapDescription) => number,
): LandmarkFit[] {
  const { seed, layer = 0, head = 0 } = options;
  const fitterOf = landmarkFitter(inputs, moments, options);
  return counts.map((count) => {
    const fitted = fitterOf(count);
    const refined = refine === 0 ? fitted : refineLandmarks(fitted, inputs, { ...options, steps: refine });
    const random = calibrate(moments, { count, seed, layer, head });
    if (error === undefined) return { landmark: refined, random, landmarkError: 0, randomError: 0 };
    const [before, after] = [error(fitted), refine === 0 ? Infinity : error(refined)];
    // Refinement follows each query's own distribution and may worsen the whole: then the fit is kept.
    const isNearer = after < before;
    return {
      landmark: isNearer ? refined : fitted,
      random,
      landmarkError: isNearer ? after : before,
      randomError: error(random),
    };
  });
}
