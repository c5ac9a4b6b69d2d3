import * as tf from "@tensorflow/tfjs";
import { causalLinearAttention } from "../kernels/causal-linear-attention.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { keyFeatures, queriesThroughCore, queryFeatures } from "./features.ts";
import { detached } from "./detached.ts";
import { lowestOf } from "./float-range.ts";
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
    const phiQuery = queriesThroughCore(queryFeatures(query!, parameters, t), t);
    const { features, logWeight } = keyFeatures(key!, parameters, t);
    const floor = lowestOf(logWeight.shape);
    const counts = detached(() => tf.greater(shown!, 0));
    const reference = detached(() => runningMaximum(tf.where(counts, logWeight, floor)));
    const relative = tf.exp(tf.where(counts, tf.sub(logWeight, reference), floor));
    const weighted = weightedValues(value!, tf.mul(relative, shown!));
    return normalized(causalLinearAttention(phiQuery, features, weighted, { reference }));
  })(q, k, v, weights, ...Object.values(parameters.tensors));
}

/** The running maximum along each row of x `[groups, length]`, by looking back twice as far in each step. */
function runningMaximum(x: tf.Tensor): tf.Tensor {
  const [groups, length] = x.shape as [number, number];
  let largest = x;
  for (let distance = 1; distance < length; distance *= 2) {
    const earlier = tf.slice(largest, [0, 0], [groups, length - distance]);
    const shifted = tf.concat([lowestOf([groups, distance]), earlier], 1);
    largest = tf.maximum(largest, shifted);
  }
  return largest;
}
