import { requireExactKeys } from "../attention/hybrid/exact-keys.ts";
import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { requireInteger, requireLength, requireObject } from "../checks.ts";
import { FavorError } from "../errors.ts";
import { plainCoordinates } from "../features/coordinates.ts";
import { descriptionVersion } from "../features/description.ts";
import type { LandmarkDescription } from "../features/description.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import { balance } from "./balance.ts";
import { coreSystem } from "./core-system.ts";
import { kMeans } from "./k-means.ts";
import type { HeadMoments } from "./moments.ts";
import { coreFitNames, fitNonNegative } from "./non-negative-core.ts";
import type { CoreFitOptions } from "./non-negative-core.ts";
import { checkInputs, checkSlope } from "./attention-input.ts";
import { remainingSquares, sampleAttention } from "./sample-attention.ts";
import type { AttentionInput } from "./attention-input.ts";
import type { SampledAttention } from "./sample-attention.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface FitLandmarksOptions extends CoreFitOptions {
  /** Features M. */
  readonly count: number;
  readonly seed: number;
  readonly layer?: number;
  readonly head?: number;
  /**
   * How many query rows to use, over all inputs. Default 2560, and 640 with a slope, with which each update writes out their
   * attention. Further inputs are left out at random.
   */
  readonly rows?: number;
  /**
   * Which keys hybrid attention serves exactly. The features are then fitted to the remaining entries of P: the others
   * count neither in the loss nor in the weights of k-means. Inputs whose keys are all exact are left out. Default: none.
   */
  readonly exactKeys?: ExactKeysOptions;
  /** With `exactKeys`: query i attends only to the keys 0..i. Without them, P covers all keys all the same. Default false. */
  readonly causal?: boolean;
  /**
   * ALiBi's slope m: P is the softmax of q.k - m |i - j|, and its estimate is multiplied by exp(-m |i - j|). Needs as many
   * queries as keys, and no `exactKeys`. Default 0: none.
   */
  readonly slope?: number;
}

const fitterNames: OptionNames<Omit<FitLandmarksOptions, "count">> = {
  ...coreFitNames,
  seed: true,
  layer: true,
  head: true,
  rows: true,
  exactKeys: true,
  causal: true,
  slope: true,
};

/** The most rows that k-means sees, and its iterations: more gained nothing measurable. */
const clusteredRows = 2048;
const lloydIterations = 4;

/**
 * Fits landmark features to a sample of one head's inputs, without training. Centring, balance and rotation are those
 * of {@link balance}. The query features are exp(z_m.q') at centres z of the keys. The key features are exp(y_m.k' +
 * queryMean.(k - keyMean)) at centres y of the queries. The core C >= 0 between them minimises |P - Phi_q C Phi_k^T|^2
 * summed over the inputs ({@link fitCore}), where P is the softmax attention and the rows of Phi_q are divided by
 * softmax's own normaliser. K-means weights each key by its share of |P|^2, sum_i P_ij^2, and each query by sum_j
 * P_ij^2, so that centres lie where attention is.
 *
 * The result fits the data that it saw and is not an unbiased estimate: test it on other data, at the lengths that you
 * will use. P covers all keys even if attention is causal, with a slope, too: the sums of the fit have no order, and rows that are
 * normalised over fewer keys than they multiply make the core twice as inaccurate. {@link refineLandmarks} then fits
 * the causal P. With `exactKeys`, entries can be left out of both sides of the fit, and so `causal` leaves out those
 * of later keys.
 *
 * For d = 64, M = 128 and inputs of 120 tokens it takes about 0.4 s per head on one core, regardless of the number of
 * inputs.
 *
 * @param inputs One per sequence: query `[rows, dim]` and key `[rows, dim]`, times d^(-1/4), unpadded.
 * @throws ArgumentError if shapes disagree, values that are not finite, or no input; FavorError `degenerate-fit`.
 */
export function fitLandmarks(
  inputs: readonly AttentionInput[],
  moments: HeadMoments,
  options: FitLandmarksOptions,
): LandmarkDescription {
  requireOptions("options", options, { ...fitterNames, count: true }, "{ count: 128, seed: 0 }");
  const { count, ...others } = options;
  requireInteger("options.count", count, 1, 1 << 14);
  return landmarkFitter(inputs, moments, others)(count);
}

/**
 * {@link fitLandmarks} for several numbers of features, which share the sample of the attention matrix.
 *
 * @returns the fit of so many features.
 * @throws ArgumentError and FavorError as {@link fitLandmarks}.
 */
export function landmarkFitter(
  inputs: readonly AttentionInput[],
  moments: HeadMoments,
  options: Omit<FitLandmarksOptions, "count">,
): (count: number) => LandmarkDescription {
  requireOptions("options", options, fitterNames, "{ seed: 0 }");
  const { seed, layer = 0, head = 0, exactKeys, slope = 0 } = options;
  const { rows = slope > 0 ? 640 : 2560 } = options;
  const causal = exactKeys !== undefined && (options.causal ?? false);
  requireExactKeys("options.exactKeys", exactKeys);
  checkSlope(slope, exactKeys);
  requireInteger("options.rows", rows, 1, 1 << 30);
  requireObject("moments", moments, "what MomentAccumulator gives");
  const { dim } = moments;
  checkInputs(inputs, dim, causal, slope);
  const balanced = balance(moments);
  const address = { seed, layer, head };
  const sampling = new RandomStream({ ...address, purpose: streamPurpose.sampling });
  const sample = sampleAttention(inputs, balanced, rows, sampling, { causal, exactKeys, slope });
  if (sample.length === 0) {
    throw new FavorError(
      `All keys of all ${inputs.length} inputs are exact with blocks of ${exactKeys?.window}, so that nothing remains to ` +
        "fit features to. Calibrate on longer inputs, or without exactKeys.",
      { code: "degenerate-fit", details: { inputs: inputs.length, window: exactKeys?.window } },
    );
  }

  const weights = sample.map(remainingSquares);
  return (count) => {
    requireInteger("count", count, 1, 1 << 14);
    const clustering = new RandomStream({ ...address, purpose: streamPurpose.clustering });
    const keyLandmarks = centres(sample, "key", weights, dim, count, clustering);
    const queryLandmarks = centres(sample, "query", weights, dim, count, clustering);
    const { system, queryLogScale, keyLogScale } = coreSystem(
      sample,
      count,
      sample.map(({ query, logNormaliser }) => logFeatures(query, keyLandmarks, dim, count, logNormaliser, -1)),
      sample.map(({ key, keyLogWeight }) => logFeatures(key, queryLandmarks, dim, count, keyLogWeight, 1)),
    );
    const { core } = fitNonNegative(system, options);
    for (let i = 0; i < core.length; i++) core[i]! *= Math.exp(-keyLogScale[i % count]!);
    return {
      version: descriptionVersion,
      kind: "landmark",
      dim,
      count,
      ...plainCoordinates(balanced),
      keyLandmarks: Array.from(keyLandmarks),
      queryLandmarks: Array.from(queryLandmarks),
      logWeight: Array.from(queryLogScale, (value) => -value),
      core: Array.from(core),
    };
  };
}

/** Weighted k-means centres of one side of a sample, `[count, dim]`. */
function centres(
  sample: readonly SampledAttention[],
  side: "query" | "key",
  squares: readonly ReturnType<typeof remainingSquares>[],
  dim: number,
  count: number,
  stream: RandomStream,
): Float64Array {
  const total = squares.reduce((sum, weights) => sum + weights[side].length, 0);
  const used = Math.min(total, Math.max(clusteredRows, 4 * count));
  const points = new Float64Array(used * dim);
  const weights = new Float64Array(used);
  let seen = 0;
  let taken = 0;
  for (const [i, input] of sample.entries()) {
    const own = squares[i]![side];
    for (let row = 0; row < own.length; row++, seen++) {
      // Selection sampling: exactly `used` of `total`, every subset equally likely.
      if (stream.uniform() * (total - seen) >= used - taken) continue;
      points.set(input[side].subarray(row * dim, (row + 1) * dim), taken * dim);
      weights[taken++] = own[row]!;
    }
  }
  return kMeans(points, dim, count, stream, { weights, iterations: lloydIterations });
}

/** x landmarks^T + sign * perRow, `[rows, count]`. */
function logFeatures(
  x: Float64Array,
  landmarks: Float64Array,
  dim: number,
  count: number,
  perRow: Float64Array,
  sign: 1 | -1,
): Float64Array {
  const rows = x.length / dim;
  requireLength("perRow", perRow, rows);
  const out = multiplyTransposed(x, landmarks, rows, dim, count);
  for (let row = 0; row < rows; row++) {
    for (let m = 0; m < count; m++) out[row * count + m]! += sign * perRow[row]!;
  }
  return out;
}
