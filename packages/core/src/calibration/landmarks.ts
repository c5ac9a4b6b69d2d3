import { requireInteger, requireLength, requireObject } from "../checks.ts";
import { plainCoordinates } from "../features/coordinates.ts";
import { descriptionVersion } from "../features/description.ts";
import type { LandmarkDescription } from "../features/description.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import { balance } from "./balance.ts";
import { coreSystem } from "./core-system.ts";
import { kMeans } from "./k-means.ts";
import type { HeadMoments } from "./moments.ts";
import { fitCore } from "./non-negative-core.ts";
import type { CoreFitOptions } from "./non-negative-core.ts";
import { checkInputs, sampleAttention } from "./sample-attention.ts";
import type { AttentionInput, SampledAttention } from "./sample-attention.ts";

export interface FitLandmarksOptions extends CoreFitOptions {
  /** Features M. */
  readonly count: number;
  readonly seed: number;
  readonly layer?: number;
  readonly head?: number;
  /** Query rows used, over all inputs; default 2560. Inputs beyond that are left out at random. */
  readonly rows?: number;
}

/** Rows that k-means sees at most, and its iterations: beyond them the fit gains nothing that could be measured. */
const clusteredRows = 2048;
const lloydIterations = 4;

/**
 * Landmark features of one head, fitted to a sample of its inputs; no training. Centring, balance and rotation are
 * those of {@link balance}. The query features are exp(z_m.q') at centres z of the keys, the key features
 * exp(y_m.k' + queryMean.(k - keyMean)) at centres y of the queries, and the core C >= 0 between them minimises
 * |P - Phi_q C Phi_k^T|^2 summed over the inputs, P the softmax attention and Phi_q's rows divided by the softmax's own
 * normaliser; {@link fitCore}. In k-means each key counts by its share of |P|^2, sum_i P_ij^2, and each query by
 * sum_j P_ij^2: centres go where attention is.
 *
 * It is a fit to the data that it saw, not an unbiased estimate: test it on other data, at the lengths that will be
 * used. For causal attention too P is that over all keys: the sums of the fit know no order, and rows that are normalised
 * over fewer keys than they multiply give cores twice as far off. {@link refineLandmarks} then fits to the causal P.
 *
 * For d = 64, M = 128 and inputs of 120 tokens some 0.4 s per head on one core, whatever the number of inputs.
 *
 * @param inputs one for each input sequence: query `[rows, dim]` and key `[rows, dim]`, times d^(-1/4), unpadded.
 * Throws ArgumentError for shapes that disagree, values that are not finite or no input; FavorError "degenerate-fit".
 */
export function fitLandmarks(
  inputs: readonly AttentionInput[],
  moments: HeadMoments,
  options: FitLandmarksOptions,
): LandmarkDescription {
  requireObject("options", options, "{ count: 128, seed: 0 }");
  const { count, seed, layer = 0, head = 0, rows = 2560 } = options;
  requireInteger("options.count", count, 1, 1 << 14);
  requireInteger("options.rows", rows, 1, 1 << 30);
  const { dim } = moments;
  checkInputs(inputs, dim);
  const balanced = balance(moments);
  const address = { seed, layer, head };
  const sampling = new RandomStream({ ...address, purpose: streamPurpose.sampling });
  const sample = sampleAttention(inputs, balanced, rows, sampling);

  const clustering = new RandomStream({ ...address, purpose: streamPurpose.clustering });
  const keyLandmarks = centres(sample, "key", "keyWeight", dim, count, clustering);
  const queryLandmarks = centres(sample, "query", "queryWeight", dim, count, clustering);
  const { system, queryLogScale, keyLogScale } = coreSystem(
    sample,
    count,
    sample.map(({ query, logNormaliser }) => logFeatures(query, keyLandmarks, dim, count, logNormaliser, -1)),
    sample.map(({ key, keyLogWeight }) => logFeatures(key, queryLandmarks, dim, count, keyLogWeight, 1)),
  );
  const { core } = fitCore(system, options);
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
}

/** Weighted k-means centres of one side of a sample, `[count, dim]`. */
function centres(
  sample: readonly SampledAttention[],
  side: "query" | "key",
  weight: "queryWeight" | "keyWeight",
  dim: number,
  count: number,
  stream: RandomStream,
): Float64Array {
  const total = sample.reduce((sum, input) => sum + input[weight].length, 0);
  const used = Math.min(total, Math.max(clusteredRows, 4 * count));
  const points = new Float64Array(used * dim);
  const weights = new Float64Array(used);
  let seen = 0;
  let taken = 0;
  for (const input of sample) {
    for (let row = 0; row < input[weight].length; row++, seen++) {
      // Selection sampling: exactly `used` of `total`, each subset alike.
      if (stream.uniform() * (total - seen) >= used - taken) continue;
      points.set(input[side].subarray(row * dim, (row + 1) * dim), taken * dim);
      weights[taken++] = input[weight][row]!;
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
  for (let i = 0; i < out.length; i++) out[i]! += sign * perRow[Math.floor(i / count)]!;
  return out;
}
