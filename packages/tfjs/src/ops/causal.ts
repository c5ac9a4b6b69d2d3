import * as tf from "@tensorflow/tfjs-core";
import { causalLinearAttention } from "../kernels/causal-linear-attention.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { keyFeatures, queriesThroughCore, queryFeatures } from "./features.ts";
import { detached } from "./detached.ts";
import { expWhere, lowestOf } from "./float-range.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";
import { normalized, weightedValues } from "./normalized.ts";
import { recomputed } from "./recompute.ts";

/**
 * Causal FAVOR (2009.14794, section 2.5.1): {@link causalLinearAttention} of phi(Q), phi(K) and [V 1], whose last
 * column is the normaliser. Row i is relative to the largest log weight of the keys 0..i, never of a later one.
 * Features are recomputed in the backward pass. The result is `[groups, length, valueDim]`.
 */
export function causalFavor({ q, k, v, weights }: GroupedInputs, parameters: FeatureParameters): tf.Tensor {
  const names = Object.keys(parameters.tensors);
  return recomputed((query, key, value, shown, ...rest) => {
    const t = Object.fromEntries(names.map((name, i) => [name, rest[i]!]));
    const inputs = { q: query!, k: key!, v: value!, weights: shown! };
    return normalized(causalRows(inputs, parameters, t, undefined).sums);
  })(q, k, v, weights, ...Object.values(parameters.tensors));
}

/** The keys of earlier calls. */
export interface Past {
  /** phi(K)^T [V 1] relative to exp(reference), `[groups, count, valueDim + 1]`. */
  readonly sums: tf.Tensor;
  /** The largest log weight so far, `[groups, 1]`. */
  readonly reference: tf.Tensor;
}

/** {@link causalFavor} of the rows that follow a past, and the past of those after them. Not recomputed. */
export function continueFavor(
  inputs: GroupedInputs,
  parameters: FeatureParameters,
  past: Past | undefined,
): { readonly out: tf.Tensor; readonly past: Past } {
  const { sums, phiQuery, features, logWeight, counts, reference } = causalRows(
    inputs,
    parameters,
    parameters.tensors,
    past,
  );
  const last = tf.slice(reference, [0, reference.shape[1]! - 1], [-1, 1]);
  const relative = expWhere(counts, tf.sub(logWeight, last));
  const added = tf.matMul(features, weightedValues(inputs.v, tf.mul(relative, inputs.weights)), true, false);
  if (!past) return { out: normalized(sums), past: { sums: added, reference: last } };
  const fromPast = tf.exp(tf.sub(past.reference, reference));
  const earlier = tf.mul(tf.matMul(phiQuery, past.sums), tf.expandDims(fromPast, 2));
  const kept = tf.mul(past.sums, tf.expandDims(tf.exp(tf.sub(past.reference, last)), 2));
  return { out: normalized(tf.add(sums, earlier)), past: { sums: tf.add(kept, added), reference: last } };
}

/** phi(q_i)^T (the sum over j <= i of phi(k_j) [v_j 1]) of the rows among themselves, and what it is made of. */
function causalRows(
  { q, k, v, weights }: GroupedInputs,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
  past: Past | undefined,
) {
  const phiQuery = queriesThroughCore(queryFeatures(q, parameters, t), t);
  const { features, logWeight } = keyFeatures(k, parameters, t);
  const counts = detached(() => tf.greater(weights, 0));
  const reference = detached(() => {
    const largest = runningMaximum(tf.where(counts, logWeight, lowestOf(logWeight.shape)));
    return past ? tf.maximum(largest, past.reference) : largest;
  });
  const relative = expWhere(counts, tf.sub(logWeight, reference));
  const weighted = weightedValues(v, tf.mul(relative, weights));
  const sums = causalLinearAttention(phiQuery, features, weighted, { reference });
  return { sums, phiQuery, features, logWeight, counts, reference };
}

/** The running maximum along each row of x `[groups, length]`, by looking back twice as far in each step. */
export function runningMaximum(x: tf.Tensor): tf.Tensor {
  const [groups, length] = x.shape as [number, number];
  let largest = x;
  for (let distance = 1; distance < length; distance *= 2) {
    const earlier = tf.slice(largest, [0, 0], [groups, length - distance]);
    const shifted = tf.concat([lowestOf([groups, distance]), earlier], 1);
    largest = tf.maximum(largest, shifted);
  }
  return largest;
}
