import { requireInteger } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { createFeatureMap } from "../features/create.ts";
import type { CalibratedDescription, FeatureMapDescription } from "../features/description.ts";
import { attentionError } from "./attention-error.ts";
import type { ExactSample } from "./exact-sample.ts";
import { calibrate, calibrateNames } from "./calibrate.ts";
import type { CalibrateOptions } from "./calibrate.ts";
import type { HeadMoments } from "./moments.ts";
import { requireOptions } from "../options.ts";

export interface Selection<Description extends FeatureMapDescription> {
  /** The candidate with the smallest error; the first if several are equal. */
  readonly description: Description;
  /** The relative attention error of each candidate, in order. */
  readonly errors: readonly number[];
}

/**
 * Selects the candidate whose attention is nearest to softmax on a sample ({@link attentionError}, relative). Its error
 * on that sample is optimistic, since it was chosen there: measure it on other data.
 *
 * @param sample From `exactSample`; with its option `causal`, candidates are compared in causal attention.
 * @throws ArgumentError if there is no candidate, or one has another dimension.
 */
export function selectFeatureMap<Description extends FeatureMapDescription>(
  candidates: readonly Description[],
  sample: ExactSample,
): Selection<Description> {
  if (!Array.isArray(candidates)) throw new ArgumentError("candidates", "an array of descriptions", candidates);
  const errors = candidates.map((candidate) => attentionError(createFeatureMap(candidate), sample).relative);
  let best = 0;
  for (let i = 1; i < errors.length; i++) {
    // A candidate that gives NaN is never chosen over one that does not.
    if (errors[i]! < errors[best]! || Number.isNaN(errors[best]!)) best = i;
  }
  const description = candidates[best];
  if (description === undefined) throw new ArgumentError("candidates", "at least one description", "none");
  return { description, errors };
}

/**
 * Selects the best of `draws` (default 16) redraws of a head's calibrated features on a sample. The redraws are the
 * epochs 0 to draws - 1 of the seed, so the description says which one was chosen.
 *
 * @param sample From `exactSample`; with its option `causal`, redraws are compared in causal attention.
 * @throws ArgumentError for invalid moments, options or sample.
 */
export function selectSeed(
  moments: HeadMoments,
  sample: ExactSample,
  options: CalibrateOptions & { readonly draws?: number },
): Selection<CalibratedDescription> {
  requireOptions("options", options, { ...calibrateNames, draws: true }, "{ count: 128, seed: 0 }");
  const { draws = 16, ...others } = options;
  requireInteger("options.draws", draws, 1, 1 << 20);
  const calibrated = calibrate(moments, others);
  const candidates = Array.from({ length: draws }, (_, epoch) => ({
    ...calibrated,
    projection: { ...calibrated.projection, epoch },
  }));
  return selectFeatureMap(candidates, sample);
}
