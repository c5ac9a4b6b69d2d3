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
import { checkInputs, forEachOther, sampleAttention } from "./sample-attention.ts";
import type { AttentionInput, SampledAttention } from "./sample-attention.ts";

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
 * @param inputs One per sequence: query `[rows, dim]` and key `[rows, dim]`, both scaled by d^(-1/4), unpadded.
 * @throws ArgumentError if shapes disagree, a value is not finite, or no input has queries and keys.
 */
export function hybridSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options: HybridSampleOptions = {},
): HybridSample {
  requireInteger("dim", dim, 1, 1 << 20);
  requireObject("options", options, "{ exactKeys: { window: 32 } }");
  const { exactKeys, rows = 2560, causal = false, seed = 0 } = options;
  requireInteger("options.rows", rows, 1, 1 << 30);
  checkInputs(inputs, dim, causal);
  const stream = new RandomStream({ seed, purpose: streamPurpose.sampling });
  const sample = sampleAttention(inputs, unchangedCoordinates(dim), rows, stream, { causal, exactKeys });
  let [left, all] = [0, 0];
  for (const { attention, attended, exact } of sample) {
    const keys = attention.length / attended.length;
    for (const [i, end] of attended.entries()) forEachOther(exact?.[i], end, (j) => (left += attention[i * keys + j]!));
    all += attended.length;
  }
  return { dim, inputs: sample, remaining: all === 0 ? 0 : left / all };
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
    const queries = attended.length;
    const keys = attention.length / queries;
    const estimate = featureMap && estimates(featureMap, query, key, logNormaliser);
    const weights = new Float64Array(keys);
    for (const [i, end] of attended.entries()) {
      const row = i * keys;
      weights.set(attention.subarray(row, row + keys));
      let far = 0;
      let total = 0;
      forEachOther(exact?.[i], end, (j) => {
        weights[j] = estimate?.[row + j] ?? 0;
        far += weights[j]!;
      });
      for (let j = 0; j < end; j++) total += weights[j]!;
      for (let j = 0; j < end; j++) {
        const difference = (total === 0 ? 0 : weights[j]! / total) - attention[row + j]!;
        squares += difference * difference;
        norm += attention[row + j]! ** 2;
        misplaced += Math.abs(difference) / 2;
      }
      farShare += total === 0 ? 0 : far / total;
    }
    rows += queries;
  }
  if (rows === 0) return { relative: 0, misplaced: 0, farShare: 0 };
  return { relative: Math.sqrt(squares / norm), misplaced: misplaced / rows, farShare: farShare / rows };
}

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
  for (let i = 0; i < products.length; i++) {
    const row = Math.floor(i / width);
    products[i]! *= Math.exp(queries.logScale[row]! + keys.logScale[i % width]! - logNormaliser[row]!);
  }
  return products;
}
