import * as tf from "@tensorflow/tfjs";
import { causalLinearAttention } from "../kernels/causal-linear-attention.ts";
import { constantOf, lowest, normalized, weightedValues } from "./bidirectional.ts";
import type { GroupedInputs } from "./bidirectional.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { keyFeatures, queriesThroughCore, queryFeatures } from "./features.ts";
import { detached } from "./detached.ts";
import { recomputed } from "./recompute.ts";

/**
 * Causal FAVOR (2009.14794, section 2.5.1): {@link causalLinearAttention} of phi(Q), phi(K) and [V 1], the last column
 * the normaliser. Row i is relative to the largest log weight of keys 0 to i, never of a later one. Features are computed
 * again in the backward pass. Result `[groups, length, valueDim]`.
 */
export function causalFavor({ q, k, v, weights }: GroupedInputs, parameters: FeatureParameters): tf.Tensor {
  const names = Object.keys(parameters.tensors);
  return recomputed((query, key, value, shown, ...rest) => {
    const t = Object.fromEntries(names.map((name, i) => [name, rest[i]!]));
    const phiQuery = queriesThroughCore(queryFeatures(query!, parameters, t), t);
    const { features, logWeight } = keyFeatures(key!, parameters, t);
    const floor = constantOf(logWeight.shape, lowest);
    const counts = detached(() => tf.greater(shown!, 0));
    const reference = detached(() => runningMaximum(tf.where(counts, logWeight, floor)));
    const relative = tf.exp(tf.where(counts, tf.sub(logWeight, reference), floor));
    const weighted = weightedValues(value!, tf.mul(relative, shown!));
    return normalized(causalLinearAttention(phiQuery, features, weighted, { reference }));
  })(q, k, v, weights, ...Object.values(parameters.tensors));
}

/** The largest number up to each column of x `[groups, length]`, by doubling the distance that it looks back. */
function runningMaximum(x: tf.Tensor): tf.Tensor {
  const [groups, length] = x.shape as [number, number];
  let largest = x;
  for (let distance = 1; distance < length; distance *= 2) {
    const earlier = tf.slice(largest, [0, 0], [groups, length - distance]);
    const shifted = tf.concat([constantOf([groups, distance], lowest), earlier], 1);
    largest = tf.maximum(largest, shifted);
  }
  return largest;
}
