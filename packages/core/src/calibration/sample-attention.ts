import type { ExactKeysOptions } from "../attention/hybrid/exact-keys.ts";
import type { HeadCoordinates } from "../features/coordinates.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import type { RandomStream } from "../random/stream.ts";
import { inFloat64 } from "./attention-input.ts";
import type { AttentionInput } from "./attention-input.ts";
import { exactRangesOf, forEachOther } from "./exact-ranges.ts";
import type { RowRanges } from "./exact-ranges.ts";
import { sampledQueries } from "./sampled-queries.ts";

/** The exact attention of some queries of one input, in the balanced coordinates. */
export interface SampledAttention {
  /** q', [queries, dim] */
  readonly query: Float64Array;
  /** k', [keys, dim] */
  readonly key: Float64Array;
  /** queryMean.(k - keyMean), [keys] */
  readonly keyLogWeight: Float64Array;
  /**
   * How many keys, counted from the first, each query attends to: all, or in causal attention those up to its own
   * position.
   */
  readonly attended: Uint32Array;
  /** P, [queries, keys]; rows sum to 1, and are 0 from `attended` on. */
  readonly attention: Float64Array;
  /** ALiBi's exp(-m |i - j|), 0 from `attended` on, [queries, keys]; undefined without a slope. P has it in. */
  readonly fade: Float64Array | undefined;
  /** Per query the keys that are exact, as ranges [from, to, ...] below `attended`; undefined: none. */
  readonly exact: RowRanges | undefined;
  /** log sum_j exp(q'.k'_j + keyLogWeight_j) over the attended keys, [queries] */
  readonly logNormaliser: Float64Array;
  /**
   * What the squared error of a row counts, [queries]: (softmax's normaliser over the attended keys / that over all keys)
   * squared. In causal attention rows that do not see what they look for would otherwise decide everything.
   */
  readonly rowWeight: Float64Array;
}

export interface SamplingOptions {
  /** Query i attends only to the keys 0..i. Default false. */
  readonly causal?: boolean;
  /** Which keys are exact. Inputs that have no others are left out. Default: none. */
  readonly exactKeys?: ExactKeysOptions | undefined;
  /** ALiBi's slope m, with as many queries as keys. Default 0: none. */
  readonly slope?: number;
}

/** Exact keys to compare; undefined for none. */
interface Candidates {
  readonly candidates: readonly (ExactKeysOptions | undefined)[];
}

/**
 * Exact attention of about `rows` queries. Takes inputs in random order until there are enough rows. Of a long input it
 * takes random queries against all of its keys, or in causal attention against those up to their own position.
 */
export function sampleAttention(
  inputs: readonly AttentionInput[],
  coordinates: HeadCoordinates,
  rows: number,
  stream: RandomStream,
  { exactKeys, ...options }: SamplingOptions = {},
): SampledAttention[] {
  return sampleAttentionForEach(inputs, coordinates, rows, stream, { ...options, candidates: [exactKeys] })[0]!;
}

/**
 * {@link sampleAttention} of the same queries for several candidates of exact keys, one sample for each. They share the
 * attention, which takes most of the time.
 */
export function sampleAttentionForEach(
  inputs: readonly AttentionInput[],
  coordinates: HeadCoordinates,
  rows: number,
  stream: RandomStream,
  { causal = false, slope = 0, candidates }: Omit<SamplingOptions, "exactKeys"> & Candidates,
): SampledAttention[][] {
  const dim = coordinates.queryMean.length;
  const samples: SampledAttention[][] = candidates.map(() => []);
  const window = Math.max(...candidates.map((exactKeys) => exactKeys?.window ?? 0));
  let taken = 0;
  for (const index of stream.permutation(inputs.length)) {
    if (taken >= rows) break;
    const input = inputs[index]!;
    if (input.query.length === 0 || input.key.length === 0) continue;
    const [query, key] = [inFloat64(input.query), inFloat64(input.key)];
    const { positions = Uint32Array.from({ length: query.length / dim }, (_, i) => i) } = input;
    const chosen = sampledQueries(positions, window, stream);
    const selected = new Float64Array(chosen.length * dim);
    for (const [target, row] of chosen.entries()) {
      selected.set(query.subarray(row * dim, (row + 1) * dim), target * dim);
    }
    const keys = key.length / dim;
    const places = chosen.map((row) => positions[row]!);
    const attended = causal ? places.map((place) => place + 1) : new Uint32Array(chosen.length).fill(keys);
    const ranges = exactRangesOf({ query, key, positions }, dim, places, candidates, causal);
    const isLeft = ranges.map((exact) => !exact?.every((row, i) => row[0] === 0 && row[1] === attended[i]));
    if (!isLeft.includes(true)) continue;
    taken += chosen.length;
    const fade = fadeOf(slope, places, attended, keys);
    const isHybrid = ranges.some((exact) => exact !== undefined);
    const attention = attend(selected, key, { attended, fade, isHybrid }, coordinates);
    for (const [i, exact] of ranges.entries()) {
      if (isLeft[i]) samples[i]!.push({ ...attention, exact });
    }
  }
  return samples;
}

/** exp(-m |i - j|) of the chosen rows i and the keys j that they attend to, [rows, keys]. */
function fadeOf(slope: number, rows: Uint32Array, attended: Uint32Array, keys: number): Float64Array | undefined {
  if (slope === 0) return undefined;
  const fade = new Float64Array(rows.length * keys);
  for (const [i, row] of rows.entries()) {
    for (let j = 0; j < attended[i]!; j++) fade[i * keys + j] = Math.exp(-slope * Math.abs(row - j));
  }
  return fade;
}

function attend(
  query: Float64Array,
  key: Float64Array,
  { attended, fade, isHybrid }: Pick<SampledAttention, "attended" | "fade"> & { readonly isHybrid: boolean },
  coordinates: HeadCoordinates,
): Omit<SampledAttention, "exact"> {
  const { queryMean, keyMean, queryMatrix, keyMatrix } = coordinates;
  const dim = queryMean.length;
  const queries = query.length / dim;
  const keys = key.length / dim;
  const q = transform(query, queryMean, queryMatrix);
  const k = transform(key, keyMean, keyMatrix);
  const keyLogWeight = new Float64Array(keys);
  for (let j = 0; j < keys; j++) {
    for (let l = 0; l < dim; l++) keyLogWeight[j]! += (key[j * dim + l]! - keyMean[l]!) * queryMean[l]!;
  }
  const attention = multiplyTransposed(q, k, queries, dim, keys);
  const logNormaliser = new Float64Array(queries);
  const rowWeight = new Float64Array(queries).fill(1);
  for (let i = 0; i < queries; i++) {
    const row = attention.subarray(i * keys, (i + 1) * keys);
    const end = attended[i]!;
    const logAll = isHybrid && end < keys ? logNormaliserOf(row, keyLogWeight) : undefined;
    row.fill(0, end);
    let largest = -Infinity;
    for (let j = 0; j < end; j++) {
      row[j]! += keyLogWeight[j]!;
      if (fade) row[j]! += Math.log(fade[i * keys + j]!);
      largest = Math.max(largest, row[j]!);
    }
    let total = 0;
    for (let j = 0; j < end; j++) {
      row[j] = Math.exp(row[j]! - largest);
      total += row[j]!;
    }
    logNormaliser[i] = largest + Math.log(total);
    if (logAll !== undefined) rowWeight[i] = Math.exp(2 * (logNormaliser[i]! - logAll));
    for (let j = 0; j < end; j++) row[j]! /= total;
  }
  return { query: q, key: k, keyLogWeight, attended, attention, fade, logNormaliser, rowWeight };
}

/**
 * What queries and keys count in k-means: sum_j P_ij^2 over the keys that are not exact, `[queries]`, and sum_i P_ij^2 over
 * the queries for which the key is not exact, `[keys]`, each times the row's weight.
 */
export function remainingSquares({ attention, attended, exact, rowWeight, keyLogWeight }: SampledAttention): {
  readonly query: Float64Array;
  readonly key: Float64Array;
} {
  const keys = keyLogWeight.length;
  const query = new Float64Array(attended.length);
  const key = new Float64Array(keys);
  for (const [i, end] of attended.entries()) {
    forEachOther(exact?.[i], end, (j) => {
      const square = rowWeight[i]! * attention[i * keys + j]! * attention[i * keys + j]!;
      query[i]! += square;
      key[j]! += square;
    });
  }
  return { query, key };
}

/** log sum_j exp(logits_j + weights_j). */
function logNormaliserOf(logits: Float64Array, weights: Float64Array): number {
  let largest = -Infinity;
  for (const [j, logit] of logits.entries()) largest = Math.max(largest, logit + weights[j]!);
  let total = 0;
  for (const [j, logit] of logits.entries()) total += Math.exp(logit + weights[j]! - largest);
  return largest + Math.log(total);
}

/** matrix (x - mean), [rows, dim]; x itself if that is the same. */
function transform(x: Float64Array, mean: Float64Array, matrix: Float64Array): Float64Array {
  const dim = mean.length;
  if (mean.every((value) => value === 0) && matrix.every((value, at) => value === (at % (dim + 1) === 0 ? 1 : 0))) {
    return x;
  }
  const centred = x.slice();
  for (let start = 0; start < x.length; start += dim) for (let l = 0; l < dim; l++) centred[start + l]! -= mean[l]!;
  return multiplyTransposed(centred, matrix, x.length / dim, dim, dim);
}
