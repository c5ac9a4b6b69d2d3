import { requireExactKeys } from "../attention/hybrid/exact-keys.ts";
import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { requireInteger, requirePositive } from "../checks.ts";
import { coordinatesOf } from "../features/coordinates.ts";
import { checkDescription } from "../features/description.ts";
import type { LandmarkDescription } from "../features/description.ts";
import { addTransposedProduct, multiply, multiplyTransposed, transpose } from "../linear-algebra/products.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import { Adam } from "./adam.ts";
import { checkInputs, checkSlope } from "./attention-input.ts";
import { forEachOther } from "./exact-ranges.ts";
import { sampleAttention } from "./sample-attention.ts";
import type { AttentionInput } from "./attention-input.ts";
import type { SampledAttention } from "./sample-attention.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface RefineLandmarksOptions {
  readonly seed: number;
  readonly layer?: number;
  readonly head?: number;
  /** Default 60. */
  readonly steps?: number;
  /** About how many query rows each step uses. Default 512. */
  readonly rows?: number;
  /** The largest change of a landmark's coordinate per step. Default 0.05; decays by a cosine after a short warm-up. */
  readonly learningRate?: number;
  /** Query i attends only to the keys 0..i. Default false. */
  readonly causal?: boolean;
  /**
   * Which keys hybrid attention serves exactly: the features are refined for the others, next to the exact ones. Start
   * from landmarks that were fitted with the same keys. Default: none.
   */
  readonly exactKeys?: ExactKeysOptions;
  /** ALiBi's slope m, as for {@link fitLandmarks}. Default 0: none. */
  readonly slope?: number;
}

const names: OptionNames<RefineLandmarksOptions> = {
  seed: true,
  layer: true,
  head: true,
  steps: true,
  rows: true,
  learningRate: true,
  causal: true,
  exactKeys: true,
  slope: true,
};

/** Steps over which the learning rate rises. */
const warmUp = 5;
/** How much faster than a landmark log C may move; it is not in the units of the coordinates. */
const coreRate = 3;
/** Core entries below exp(-30) of the largest are raised to it, so that their gradient reaches them. */
const coreFloor = 30;

/**
 * Moves the landmarks and the core of {@link fitLandmarks} by gradient descent (Adam) so that the normalised attention
 * comes nearer to softmax. The loss is the mean over queries of the Kullback-Leibler divergence from P to its estimate,
 *
 *     P_hat_ij = A_ij / sum_j A_ij,   A = Phi_q C Phi_k^T,   dKL_i/dA_ij = 1 / sum_j A_ij - P_ij / A_ij,
 *
 * with j over the keys that i attends to. With ALiBi, A is exp(-m |i - j|) Phi_q C Phi_k^T. Where keys are exact, A_ij is exp(q.k) / softmax's normaliser for these, and
 * the estimate of that for all others, whose gradient is the same.
 *
 * Each head learns alone, from its own queries and keys: nothing is propagated through the model, and no model weight
 * changes. The result is again a landmark description. A step costs about 3 rows (count^2 + 2 count dim + keys count)
 * multiplications.
 *
 * @param inputs As for {@link fitLandmarks}; each step takes another random part of them.
 * @throws ArgumentError for invalid options or inputs.
 */
export function refineLandmarks(
  description: LandmarkDescription,
  inputs: readonly AttentionInput[],
  options: RefineLandmarksOptions,
): LandmarkDescription {
  requireOptions("options", options, names, "{ seed: 0 }");
  const { seed, layer = 0, head = 0, steps = 60, rows = 512, learningRate = 0.05, causal = false, exactKeys } = options;
  const { slope = 0 } = options;
  requireExactKeys("options.exactKeys", exactKeys);
  checkSlope(slope, exactKeys);
  requireInteger("options.steps", steps, 1, 1 << 20);
  requireInteger("options.rows", rows, 1, 1 << 30);
  requirePositive("options.learningRate", learningRate);
  checkDescription(description);
  const { count, dim } = description;
  checkInputs(inputs, dim, causal, slope);
  const coordinates = coordinatesOf(description);
  const stream = new RandomStream({ seed, layer, head, purpose: streamPurpose.refinement });
  const parameters: Parameters = {
    keyLandmarks: Float64Array.from(description.keyLandmarks),
    queryLandmarks: Float64Array.from(description.queryLandmarks),
    logCore: flooredLog(description),
  };
  const optimizers = {
    keyLandmarks: new Adam(count * dim),
    queryLandmarks: new Adam(count * dim),
    logCore: new Adam(count * count),
  };
  for (let step = 1; step <= steps; step++) {
    const rate = learningRate * Math.min(1, step / warmUp) * 0.5 * (1 + Math.cos((Math.PI * (step - 1)) / steps));
    const sample = sampleAttention(inputs, coordinates, rows, stream, { causal, exactKeys, slope });
    // every key of these inputs is exact
    if (sample.length === 0) continue;
    const { gradient } = attentionLoss(parameters, sample, dim, count);
    for (const name of ["keyLandmarks", "queryLandmarks", "logCore"] as const) {
      optimizers[name].update(parameters[name], gradient[name], name === "logCore" ? coreRate * rate : rate);
    }
  }
  return {
    ...description,
    keyLandmarks: Array.from(parameters.keyLandmarks),
    queryLandmarks: Array.from(parameters.queryLandmarks),
    // The core holds the weights of both sides now.
    logWeight: description.logWeight.map(() => 0),
    core: Array.from(parameters.logCore, Math.exp),
  };
}

/** What refinement moves. */
interface Parameters {
  /** z, [count, dim] */
  readonly keyLandmarks: Float64Array;
  /** y, [count, dim] */
  readonly queryLandmarks: Float64Array;
  /** log(diag(exp(logWeight)) C), [count, count] */
  readonly logCore: Float64Array;
}

function flooredLog({ core, logWeight, count }: LandmarkDescription): Float64Array {
  const logs = Float64Array.from(core, (value, i) => Math.log(value) + logWeight[Math.floor(i / count)]!);
  const floor = logs.reduce((a, b) => Math.max(a, b), -Infinity) - coreFloor;
  return logs.map((value) => Math.max(value, floor));
}

/** The mean over the sampled queries of KL(P, P_hat), and its gradient. */
export function attentionLoss(
  parameters: Parameters,
  sample: readonly SampledAttention[],
  dim: number,
  count: number,
): { loss: number; gradient: Parameters } {
  const gradient: Parameters = {
    keyLandmarks: new Float64Array(count * dim),
    queryLandmarks: new Float64Array(count * dim),
    logCore: new Float64Array(count * count),
  };
  const total = sample.reduce((sum, { logNormaliser }) => sum + logNormaliser.length, 0);
  // The scale of the core cancels; without it exp cannot overflow.
  const largest = parameters.logCore.reduce((a, b) => Math.max(a, b), -Infinity);
  const core = parameters.logCore.map((value) => Math.exp(value - largest));
  const transposedCore = transpose(core, count, count);
  let loss = 0;
  for (const { query, key, keyLogWeight, attended, attention, fade, exact, logNormaliser } of sample) {
    const queries = query.length / dim;
    const keys = key.length / dim;
    const phiQuery = multiplyTransposed(query, parameters.keyLandmarks, queries, dim, count);
    let logScale = largest;
    if (exact) {
      // next to exact keys the scale of a row does not cancel
      for (let i = 0; i < phiQuery.length; i++) phiQuery[i]! -= logNormaliser[Math.floor(i / count)]!;
      logScale += exponential(phiQuery);
    } else for (let i = 0; i < queries; i++) exponential(phiQuery.subarray(i * count, (i + 1) * count));
    const phiKey = multiplyTransposed(key, parameters.queryLandmarks, keys, dim, count);
    for (let i = 0; i < phiKey.length; i++) phiKey[i]! += keyLogWeight[Math.floor(i / count)]!;
    logScale += exponential(phiKey);

    const joined = multiplyTransposed(phiQuery, transposedCore, queries, count, count);
    const estimate = multiplyTransposed(joined, phiKey, queries, count, keys);
    if (fade) for (let at = 0; at < estimate.length; at++) estimate[at]! *= fade[at]!;
    loss += exact
      ? remainingDivergence(estimate, attention, attended, exact, Math.exp(logScale)) / total
      : divergence(estimate, attention, attended, keys) / total;
    // `estimate` holds the gradient with respect to A now, and then that without the fade.
    if (fade) for (let at = 0; at < estimate.length; at++) estimate[at]! *= fade[at]!;
    const towardsJoined = multiply(estimate, phiKey, queries, keys, count);
    const towardsQuery = multiplyTransposed(towardsJoined, core, queries, count, count);
    const towardsKey = multiply(transpose(estimate, queries, keys), joined, keys, queries, count);
    addTransposedProduct(phiQuery, towardsJoined, queries, count, count, gradient.logCore);
    for (let i = 0; i < phiQuery.length; i++) towardsQuery[i]! *= phiQuery[i]!;
    for (let i = 0; i < phiKey.length; i++) towardsKey[i]! *= phiKey[i]!;
    addTransposedProduct(towardsQuery, query, queries, count, dim, gradient.keyLandmarks);
    addTransposedProduct(towardsKey, key, keys, count, dim, gradient.queryLandmarks);
  }
  for (let i = 0; i < core.length; i++) gradient.logCore[i]! *= core[i]!;
  for (const array of Object.values<Float64Array>({ ...gradient })) {
    for (let i = 0; i < array.length; i++) array[i]! /= total;
  }
  return { loss, gradient };
}

/** exp(x - max x) in place; returns max x. A common factor cancels in the normalised attention. */
function exponential(values: Float64Array): number {
  const largest = values.reduce((a, b) => Math.max(a, b), -Infinity);
  for (let i = 0; i < values.length; i++) values[i] = Math.exp(values[i]! - largest);
  return largest;
}

/** The least share of its row that an entry counts with, so that a key that no landmark reaches does not dominate. */
const leastShare = 1e-6;

/**
 * The sum over rows of KL(P_i, A_i / sum A_i), both over the attended keys. A, `[queries, keys]`, is overwritten by the
 * gradient with respect to it.
 */
function divergence(estimate: Float64Array, attention: Float64Array, attended: Uint32Array, keys: number): number {
  let sum = 0;
  for (const [i, end] of attended.entries()) {
    estimate.fill(0, i * keys + end, (i + 1) * keys);
    let normaliser = 0;
    for (let j = 0; j < end; j++) normaliser += estimate[i * keys + j]!;
    for (let j = 0; j < end; j++) {
      const at = i * keys + j;
      const share = Math.max(estimate[at]! / normaliser, leastShare);
      const p = attention[at]!;
      if (p > 0) sum += p * Math.log(p / share);
      estimate[at] = (1 - p / share) / normaliser;
    }
  }
  return sum;
}

/**
 * {@link divergence} where the keys in `exact` have the weights P_ij, and all others `scale` times the estimate; the
 * gradient is that with respect to the estimate.
 */
function remainingDivergence(
  estimate: Float64Array,
  attention: Float64Array,
  attended: Uint32Array,
  exact: readonly (readonly number[])[],
  scale: number,
): number {
  const keys = attention.length / attended.length;
  let sum = 0;
  for (const [i, end] of attended.entries()) {
    const row = i * keys;
    let far = 0;
    let remaining = 0;
    forEachOther(exact[i], end, (j) => {
      far += estimate[row + j]!;
      remaining += attention[row + j]!;
    });
    const normaliser = 1 - remaining + scale * far;
    // all P_ij of exact keys are divided by the same normaliser
    sum += (1 - remaining) * Math.log(normaliser);
    const gradient = new Float64Array(keys);
    forEachOther(exact[i], end, (j) => {
      const share = Math.max((scale * estimate[row + j]!) / normaliser, leastShare);
      const p = attention[row + j]!;
      if (p > 0) sum += p * Math.log(p / share);
      gradient[j] = (scale * (1 - p / share)) / normaliser;
    });
    estimate.set(gradient, row);
  }
  return sum;
}
