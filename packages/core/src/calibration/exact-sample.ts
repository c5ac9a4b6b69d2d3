import { requireSlope } from "../attention/alibi.ts";
import { exactAttention } from "../attention/exact.ts";
import { requireInteger, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import { inFloat64, requireInputs } from "./attention-input.ts";
import type { AttentionInput } from "./attention-input.ts";
import { requireOptions } from "../options.ts";

interface SampledInput {
  /** `[rows, dim]`. */
  readonly query: Float64Array;
  /** `[rows, dim]`. */
  readonly key: Float64Array;
}

/** Softmax attention of a sample in which every query sees every key. */
export interface BidirectionalSample {
  readonly dim: number;
  readonly causal: false;
  /** ALiBi's slope m; 0: none. */
  readonly slope: number;
  /** Per input, besides its query and key, P `[queries, keys]`: softmax attention, whose rows sum to 1. */
  readonly inputs: readonly (SampledInput & { readonly attention: Float64Array })[];
}

/** Softmax attention of a sample in which query i sees the keys 0..i, by what it makes of random values. */
export interface CausalSample {
  readonly dim: number;
  readonly causal: true;
  /** ALiBi's slope m; 0: none. */
  readonly slope: number;
  /** Per input, besides its query and key, Gaussian values V and the output P V, both `[rows, dim]`. */
  readonly inputs: readonly (SampledInput & { readonly value: Float64Array; readonly output: Float64Array })[];
}

/** The softmax attention of a sample. It needs no feature map, so it is computed once for all candidates. */
export type ExactSample = BidirectionalSample | CausalSample;

/**
 * The softmax attention of a sample, to compare feature maps with by `attentionError`.
 *
 * Bidirectional samples hold every P: O(rows^2 dim) time and rows^2 numbers per input. Causal ones hold P V for
 * Gaussian values V, drawn from seed 0: as long to compute, but only 2 rows dim numbers per input.
 *
 * @param inputs One per sequence: query `[rows, dim]` and key `[rows, dim]`, both times d^(-1/4), unpadded. Empty
 * inputs are left out.
 * @param options.causal Query i sees the keys 0..i only, which needs as many keys as queries. Default false.
 * @param options.slope ALiBi's m: the logits get -m |i - j|, which needs as many keys as queries. Default 0.
 * @throws ArgumentError if shapes disagree, or no input has queries and keys.
 */
export function exactSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options?: { readonly causal?: false; readonly slope?: number },
): BidirectionalSample;
export function exactSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options: { readonly causal: true; readonly slope?: number },
): CausalSample;
export function exactSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options?: { readonly causal?: boolean; readonly slope?: number },
): ExactSample;
export function exactSample(
  inputs: readonly AttentionInput[],
  dim: number,
  options: { readonly causal?: boolean; readonly slope?: number } = {},
): ExactSample {
  requireOptions("options", options, { causal: true, slope: true });
  const { causal = false, slope = 0 } = options;
  requireInteger("dim", dim, 1, 1 << 20);
  requireInputs(inputs);
  requireSlope("options.slope", slope);
  const filled = inputs.flatMap(({ query, key }, i) => {
    const queries = rowCount(`inputs[${i}].query`, query, dim);
    const keys = rowCount(`inputs[${i}].key`, key, dim);
    if ((causal || slope > 0) && queries !== keys) {
      const why = causal ? "causal attention" : "ALiBi";
      throw new ArgumentError(`inputs[${i}].key`, `as many keys as queries, ${queries}, for ${why}`, keys);
    }
    return queries === 0 || keys === 0 ? [] : [{ query: inFloat64(query), key: inFloat64(key), queries, keys }];
  });
  if (filled.length === 0) {
    throw new ArgumentError("inputs", "at least one input with queries and keys", `${inputs.length} empty ones`);
  }
  if (causal) {
    const stream = new RandomStream({ seed: 0, purpose: streamPurpose.trials });
    const withOutputs = filled.map(({ query, key }) => {
      const value = stream.gaussians(key.length);
      return { query, key, value, output: exactAttention(query, key, value, { dim, causal: true, slope }) };
    });
    return { dim, causal, slope, inputs: withOutputs };
  }
  const withAttention = filled.map(({ query, key, queries, keys }) => {
    const attention = multiplyTransposed(query, key, queries, dim, keys);
    if (slope > 0) addBias(attention, keys, slope);
    for (let row = 0; row < queries; row++) softmax(attention.subarray(row * keys, (row + 1) * keys));
    return { query, key, attention };
  });
  return { dim, causal, slope, inputs: withAttention };
}

/** -m |i - j| on top of logits [keys, keys]. */
function addBias(logits: Float64Array, keys: number, slope: number): void {
  for (let at = 0; at < logits.length; at++) logits[at]! -= slope * Math.abs(Math.floor(at / keys) - (at % keys));
}

function softmax(row: Float64Array): void {
  let largest = -Infinity;
  for (const value of row) largest = Math.max(largest, value);
  let total = 0;
  for (let j = 0; j < row.length; j++) total += row[j] = Math.exp(row[j]! - largest);
  for (let j = 0; j < row.length; j++) row[j]! /= total;
}
