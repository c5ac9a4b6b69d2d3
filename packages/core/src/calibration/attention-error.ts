import { favorCausalAttention } from "../attention/causal-favor.ts";
import { favorAlibiAttention } from "../attention/favor-alibi.ts";
import { requireInteger, requireLength, requireObject, requirePositive } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { createFeatureMap } from "../features/create.ts";
import type { FeatureMapDescription } from "../features/description.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import { calibrate } from "./calibrate.ts";
import { exactSample } from "./exact-sample.ts";
import type { BidirectionalSample, CausalSample, ExactSample } from "./exact-sample.ts";
import { MomentAccumulator } from "./moments.ts";
import { inFloat64 } from "./attention-input.ts";
import type { AttentionInput } from "./attention-input.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** How far a feature map's attention is from softmax on a sample. */
export interface AttentionError {
  /** |P_hat - P|_F / |P|_F over the sample, P the row-normalised attention matrices. */
  readonly relative: number;
  /**
   * The mean over queries of sum_j |P_hat_ij - P_ij| / 2, the total variation distance. Where no estimate is negative, it is
   * the share of attention that goes to the wrong keys, at most 1. Trigonometric features, whose estimates may be
   * negative, can exceed 1 by far.
   */
  readonly misplaced: number;
}

/**
 * How far a feature map's attention is from softmax on a sample.
 *
 * On a causal sample `relative` is estimated from outputs: for Gaussian V, the mean of |(P_hat - P) V|^2 is
 * |P_hat - P|_F^2 times the width of V, so no P is written out. It has no `misplaced`.
 *
 * @throws ArgumentError if the map's dimension is not the sample's.
 */
export function attentionError(featureMap: FeatureMap, sample: BidirectionalSample): AttentionError;
export function attentionError(featureMap: FeatureMap, sample: ExactSample): Pick<AttentionError, "relative">;
export function attentionError(featureMap: FeatureMap, sample: ExactSample): Pick<AttentionError, "relative"> {
  requireFeatureMap("featureMap", featureMap);
  requireObject("sample", sample, "what exactSample gives");
  const { dim } = featureMap;
  if (dim !== sample.dim) throw new ArgumentError("featureMap.dim", `the sample's ${sample.dim}`, dim);
  return sample.causal ? causalError(featureMap, sample) : bidirectionalError(featureMap, sample);
}

function bidirectionalError(featureMap: FeatureMap, sample: BidirectionalSample): AttentionError {
  const { dim, count } = featureMap;
  const { slope } = sample;
  let squares = 0;
  let norm = 0;
  let misplaced = 0;
  let rows = 0;
  for (const { query, key, attention } of sample.inputs) {
    const queries = query.length / dim;
    const keys = key.length / dim;
    requireLength("attention", attention, queries * keys);
    const phiQuery = featureMap.queryStabilized(query).features;
    // One scale for all keys would make those that only their neighbours see vanish.
    const phiKey = featureMap.keyStabilized(key, { scope: slope > 0 ? "row" : "all" });
    const estimate = multiplyTransposed(phiQuery, phiKey.features, queries, count, keys);
    if (slope > 0) fadeRows(estimate, phiKey.logScale, slope);
    rows += queries;
    for (let start = 0; start < estimate.length; start += keys) {
      let total = 0;
      for (let j = start; j < start + keys; j++) total += estimate[j]!;
      for (let j = start; j < start + keys; j++) {
        // A row whose normaliser is 0 attends to nothing, as in the attention itself.
        const difference = (total === 0 ? 0 : estimate[j]! / total) - attention[j]!;
        squares += difference * difference;
        norm += attention[j]! * attention[j]!;
        misplaced += Math.abs(difference) / 2;
      }
    }
  }
  return { relative: Math.sqrt(squares / norm), misplaced: misplaced / rows };
}

/** Multiplies each row by exp(logScale_j - m |i - j|), relative to the largest of these. */
function fadeRows(estimate: Float64Array, logScale: Float64Array, slope: number): void {
  const keys = logScale.length;
  for (let i = 0; i * keys < estimate.length; i++) {
    const row = estimate.subarray(i * keys, (i + 1) * keys);
    const logs = logScale.map((scale, j) => scale - slope * Math.abs(i - j));
    const largest = logs.reduce((a, b) => Math.max(a, b), -Infinity);
    for (let j = 0; j < keys; j++) row[j]! *= Math.exp(logs[j]! - largest);
  }
}

function causalError(featureMap: FeatureMap, { slope, inputs }: CausalSample): Pick<AttentionError, "relative"> {
  let squares = 0;
  let norm = 0;
  for (const { query, key, value, output } of inputs) {
    const estimate =
      slope === 0
        ? favorCausalAttention(query, key, value, { featureMap })
        : favorAlibiAttention(query, key, value, { featureMap, slope, causal: true });
    for (let i = 0; i < output.length; i++) {
      squares += (estimate[i]! - output[i]!) ** 2;
      norm += output[i]! ** 2;
    }
  }
  return { relative: Math.sqrt(squares / norm) };
}

export interface FeaturesForErrorOptions {
  /** d */
  readonly dim: number;
  /**
   * The description for `count` features and redraw number `epoch`. Default: calibrated on the sample itself, over
   * orthogonal projections of seed 0.
   */
  readonly describe?: (count: number, epoch: number) => FeatureMapDescription;
  /** Redraws whose errors are averaged, at least 2; default 8. */
  readonly draws?: number;
  /** The most features to try; default 4096. */
  readonly maximum?: number;
}

const names: OptionNames<FeaturesForErrorOptions> = { dim: true, describe: true, draws: true, maximum: true };

export interface FeaturesForError {
  /** False if even the maximum is not enough; count and error are then those of the maximum. */
  readonly reached: boolean;
  readonly count: number;
  /** The mean relative error at `count`. */
  readonly error: number;
  /** The mean plus two standard errors over the redraws. */
  readonly atMost: number;
  /** Every measurement, sorted by count. */
  readonly measured: readonly { readonly count: number; readonly error: number; readonly atMost: number }[];
}

/**
 * The smallest number of features, to within an eighth, whose mean {@link AttentionError.relative} on the sample is at
 * most `epsilon` with two standard errors to spare: of many counts measured with few redraws, one would pass by luck. It
 * doubles from 8, then bisects. This measures the number, because the bound of `theorem1` asks for far more than is
 * needed.
 *
 * @throws ArgumentError if epsilon is not positive, shapes disagree, or there is no input.
 */
export function featuresForError(
  inputs: readonly AttentionInput[],
  epsilon: number,
  options: FeaturesForErrorOptions,
): FeaturesForError {
  requireOptions("options", options, names, "{ dim: 64 }");
  const { dim, draws = 8, maximum = 4096 } = options;
  requirePositive("epsilon", epsilon);
  requireInteger("options.draws", draws, 2, 1 << 20);
  requireInteger("options.maximum", maximum, 1, 1 << 20);
  const sample = exactSample(inputs, dim);
  const describe = options.describe ?? calibratedOn(inputs, dim);
  const measured: { count: number; error: number; atMost: number }[] = [];
  const measure = (count: number): { error: number; atMost: number } => {
    const errors = Array.from(
      { length: draws },
      (_, epoch) => attentionError(createFeatureMap(describe(count, epoch)), sample).relative,
    );
    const error = errors.reduce((sum, value) => sum + value, 0) / draws;
    const variance = errors.reduce((sum, value) => sum + (value - error) ** 2, 0) / (draws - 1);
    const found = { error, atMost: error + 2 * Math.sqrt(variance / draws) };
    measured.push({ count, ...found });
    return found;
  };

  let enough = Math.min(8, maximum);
  let best = measure(enough);
  let tooFew = 0;
  while (!(best.atMost <= epsilon) && enough < maximum) {
    tooFew = enough;
    enough = Math.min(2 * enough, maximum);
    best = measure(enough);
  }
  const done = (reached: boolean): FeaturesForError => ({
    reached,
    count: enough,
    ...best,
    measured: measured.toSorted((a, b) => a.count - b.count),
  });
  if (!(best.atMost <= epsilon)) return done(false);
  while (enough - tooFew > Math.max(1, enough / 8)) {
    const middle = Math.floor((enough + tooFew) / 2);
    const found = measure(middle);
    if (found.atMost <= epsilon) {
      enough = middle;
      best = found;
    } else {
      tooFew = middle;
    }
  }
  return done(true);
}

function calibratedOn(
  inputs: readonly AttentionInput[],
  dim: number,
): (count: number, epoch: number) => FeatureMapDescription {
  const accumulator = new MomentAccumulator(dim);
  for (const { query, key } of inputs) accumulator.add(inFloat64(query), inFloat64(key));
  const calibrated = calibrate(accumulator.moments(), { count: 1, seed: 0 });
  return (count, epoch) => ({ ...calibrated, projection: { ...calibrated.projection, count, epoch } });
}
