import { requireExactKeys } from "../attention/hybrid/exact-keys.ts";
import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import { requireInteger, requireObject } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { unchangedCoordinates } from "../features/coordinates.ts";
import { exponentialForm } from "../features/create.ts";
import { requireFeatureMap } from "../features/feature-map.ts";
import type { FeatureMap } from "../features/feature-map.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import type { AttentionError } from "./attention-error.ts";
import { checkInputs } from "./attention-input.ts";
import { sampleAttentionForEach } from "./sample-attention.ts";
import type { AttentionInput } from "./attention-input.ts";
import type { SampledAttention } from "./sample-attention.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface HybridSampleOptions {
  /** Which keys are exact. Default: none, plain FAVOR. */
  readonly exactKeys?: ExactKeysOptions;
  /** How many query rows to use, over all inputs, at most 256 of one. Default 2560. */
  readonly rows?: number;
  /** Query i sees the keys 0..i only, which needs as many keys as queries. Default false. */
  readonly causal?: boolean;
  /** Seed for the choice of rows. Default 0. */
  readonly seed?: number;
}

const samplesNames: OptionNames<Omit<HybridSampleOptions, "exactKeys">> = { rows: true, causal: true, seed: true };

/** Softmax attention of sampled rows, and which of its keys are exact; from {@link hybridSample}. */
export interface HybridSample {
  readonly dim: number;
  /** Inputs of which some keys are not exact. */
  readonly inputs: readonly SampledAttention[];
  /** The share of all attention that goes to keys that are not exact. */
  readonly remaining: number;
}

/** {@link AttentionError}, and how much attention the far field gets. */
export interface HybridError extends AttentionError {
  /** The share of attention that the far field gets, on average over the rows. Right is `HybridSample.remaining`. */
  readonly farShare: number;
}

/**
 * The softmax attention of random rows of a sample, to compare feature maps and exact keys with by {@link hybridError}.
 * Takes O(rows keys dim) time besides choosing blocks, and holds rows x keys numbers.
 *
 * @param inputs One per sequence: query `[rows, dim]` and key `[rows, dim]`, both times d^(-1/4), unpadded.
 * @throws ArgumentError if shapes disagree, a value is not finite, or no input has queries and keys.
 */
export function hybridSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options: HybridSampleOptions = {},
): HybridSample {
  requireOptions("options", options, { ...samplesNames, exactKeys: true }, "{ exactKeys: { window: 32 } }");
  const { exactKeys, ...others } = options;
  return hybridSamples(inputs, dim, [exactKeys], others)[0]!;
}

/**
 * {@link hybridSample} for several candidates of exact keys, one sample for each, of the same rows. Their attention is
 * computed once and shared, which makes further candidates nearly free.
 *
 * @param candidates Which keys are exact; undefined for none.
 * @throws ArgumentError as {@link hybridSample}, or without candidates.
 */
export function hybridSamples(
  inputs: readonly AttentionInput[],
  dim: number,
  candidates: readonly (ExactKeysOptions | undefined)[],
  options: Omit<HybridSampleOptions, "exactKeys"> = {},
): HybridSample[] {
  requireInteger("dim", dim, 1, 1 << 20);
  requireOptions("options", options, samplesNames, "{ rows: 2560 }");
  if (!Array.isArray(candidates) || candidates.length === 0) {
    throw new ArgumentError("candidates", "at least one, such as { window: 32 }", candidates);
  }
  for (const [i, exactKeys] of candidates.entries()) requireExactKeys(`candidates[${i}]`, exactKeys);
  const { rows = 2560, causal = false, seed = 0 } = options;
  requireInteger("options.rows", rows, 1, 1 << 30);
  checkInputs(inputs, dim, causal);
  const stream = new RandomStream({ seed, purpose: streamPurpose.sampling });
  const samples = sampleAttentionForEach(inputs, unchangedCoordinates(dim), rows, stream, { causal, candidates });
  return samples.map((sample) => ({ dim, inputs: sample, remaining: remainingShare(sample) }));
}

/** The share of all attention that goes to keys that are not exact. */
function remainingShare(sample: readonly SampledAttention[]): number {
  let [left, all] = [0, 0];
  for (const { attention, attended, exact } of sample) {
    const keys = attention.length / attended.length;
    for (let i = 0; i < attended.length; i++) {
      const ranges = exact?.[i] ?? [];
      let sum = 0;
      for (let at = 0; at < ranges.length; at += 2) {
        for (let j = ranges[at]!; j < ranges[at + 1]!; j++) sum += attention[i * keys + j]!;
      }
      left += 1 - sum;
    }
    all += attended.length;
  }
  return all === 0 ? 0 : left / all;
}

/**
 * How far hybrid attention is from softmax on a sample: exact keys as they are, all others estimated by the feature map,
 * one normaliser. Inputs whose keys are all exact are not in the sample; their error is 0.
 *
 * @param featureMap Without one, the far field is dropped.
 * @throws ArgumentError if the map's dimension is not the sample's, or it has no exponential form.
 */
export function hybridError(featureMap: FeatureMap | undefined, sample: HybridSample): HybridError {
  requireObject("sample", sample, "what hybridSample gives");
  const { dim, inputs } = sample;
  if (featureMap !== undefined) {
    requireFeatureMap("featureMap", featureMap);
    if (featureMap.dim !== dim) throw new ArgumentError("featureMap.dim", `the sample's ${dim}`, featureMap.dim);
    exponentialForm(featureMap.description);
  }
  let [squares, norm, misplaced, farShare, rows] = [0, 0, 0, 0, 0];
  for (const { query, key, attention, attended, exact, logNormaliser } of inputs) {
    const keys = attention.length / attended.length;
    const estimate = featureMap && estimates(featureMap, query, key, logNormaliser);
    for (const [i, end] of attended.entries()) {
      const row = attention.subarray(i * keys, i * keys + end);
      const estimated = estimate?.subarray(i * keys, i * keys + end);
      const part = rowError(row, estimated, exact?.[i] ?? []);
      squares += part.squares;
      norm += part.norm;
      misplaced += part.misplaced;
      farShare += part.farShare;
    }
    rows += attended.length;
  }
  if (rows === 0) return { relative: 0, misplaced: 0, farShare: 0 };
  return { relative: Math.sqrt(squares / norm), misplaced: misplaced / rows, farShare: farShare / rows };
}

/**
 * One row of softmax attention, P, against the exact keys' P and the others' estimates over the sum of both.
 *
 * @param exact ranges [from, to, ...] of exact keys.
 */
function rowError(
  row: Float64Array,
  estimated: Float64Array | undefined,
  exact: readonly number[],
): { squares: number; norm: number; misplaced: number; farShare: number } {
  let [exactSum, exactSquares, far, norm] = [0, 0, 0, 0];
  for (let at = 0; at < exact.length; at += 2) {
    for (let j = exact[at]!; j < exact[at + 1]!; j++) {
      exactSum += row[j]!;
      exactSquares += row[j]! * row[j]!;
    }
  }
  for (let at = 0; at <= exact.length; at += 2) {
    const [from, to] = [exact[at - 1] ?? 0, exact[at] ?? row.length];
    for (let j = from; j < to; j++) {
      norm += row[j]! * row[j]!;
      if (estimated) far += estimated[j]!;
    }
  }
  norm += exactSquares;
  const total = exactSum + far;
  // What the exact keys get too much, for each of their weights; no key gets anything without a total.
  const excess = total === 0 ? -1 : 1 / total - 1;
  let squares = excess * excess * exactSquares;
  let misplaced = Math.abs(excess) * exactSum;
  for (let at = 0; at <= exact.length; at += 2) {
    const [from, to] = [exact[at - 1] ?? 0, exact[at] ?? row.length];
    for (let j = from; j < to; j++) {
      const difference = (estimated && total > 0 ? estimated[j]! / total : 0) - row[j]!;
      squares += difference * difference;
      misplaced += Math.abs(difference);
    }
  }
  return { squares, norm, misplaced: misplaced / 2, farShare: total === 0 ? 0 : far / total };
}

/** exp of more overflows. */
const mostExponent = 700;

/** The estimate of exp(q.k) divided by softmax's normaliser, `[queries, keys]`. */
function estimates(
  featureMap: FeatureMap,
  query: Float64Array,
  key: Float64Array,
  logNormaliser: Float64Array,
): Float64Array {
  const { dim, count } = featureMap;
  const queries = featureMap.queryStabilized(query);
  const keys = featureMap.keyStabilized(key, { scope: "row" });
  const width = key.length / dim;
  const products = multiplyTransposed(queries.features, keys.features, query.length / dim, count, width);
  // exp(scale of the query + scale of the key - normaliser) as a product, because exp takes longer than all else here.
  const largest = keys.logScale.reduce((a, b) => Math.max(a, b), -Infinity);
  const ofKey = keys.logScale.map((scale) => Math.exp(scale - largest));
  for (const [row, normaliser] of logNormaliser.entries()) {
    // Infinity times a key's 0 would be NaN.
    const ofRow = Math.exp(Math.min(mostExponent, queries.logScale[row]! + largest - normaliser));
    for (let j = 0; j < width; j++) products[row * width + j]! *= ofKey[j]! * ofRow;
  }
  return products;
}
