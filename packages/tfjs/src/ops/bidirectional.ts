import * as tf from "@tensorflow/tfjs";
import type { FeatureParameters } from "./feature-parameters.ts";
import { keyFeatures, queryFeatures, sumsThroughCore } from "./features.ts";
import { detached } from "./detached.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";
import { recomputed } from "./recompute.ts";

/** Below every relevant exponent, and far enough from the limits of float32 for a difference of two. */
export const lowest = -1e30;

/** A tensor of one number. */
export function constantOf(shape: number[], value: number): tf.Tensor {
  return tf.mul(tf.ones(shape), value);
}

/**
 * Bidirectional FAVOR (2006.03555, section 2.3): phi(Q) (phi(K)^T [V 1]), whose last column is the normaliser. Two
 * recomputed halves are joined by sums `[groups, count, valueDim + 1]`, so that the backward pass holds the features of
 * one side at a time. The result is `[groups, queries, valueDim]`.
 */
export function bidirectionalFavor({ q, k, v, weights }: GroupedInputs, parameters: FeatureParameters): tf.Tensor {
  const names = Object.keys(parameters.tensors);
  const arrays = Object.values(parameters.tensors);
  const named = (tensors: tf.Tensor[]): Record<string, tf.Tensor> =>
    Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));

  const sums = recomputed((key, value, shown, ...rest) => {
    const t = named(rest);
    const { features, logWeight } = keyFeatures(key!, parameters, t);
    const weighted = weightedValues(value!, relativeWeights(logWeight, shown!));
    return sumsThroughCore(tf.matMul(features, weighted, true, false), t);
  })(k, v, weights, ...arrays);
  return recomputed((query, sum, ...rest) =>
    normalized(tf.matMul(queryFeatures(query!, parameters, named(rest)), sum!)),
  )(q, sums, ...arrays);
}

/** exp(logWeight - the largest of the visible keys) times the mask, `[groups, keys]`. */
function relativeWeights(logWeight: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const floor = constantOf(logWeight.shape, lowest);
  const shown = detached(() => tf.greater(weights, 0));
  const largest = detached(() => tf.max(tf.where(shown, logWeight, floor), 1, true));
  return tf.mul(tf.exp(tf.where(shown, tf.sub(logWeight, largest), floor)), weights);
}

/** [V 1] times a weight per key, `[groups, keys, valueDim + 1]`. */
export function weightedValues(value: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const column = tf.expandDims(weights, 2);
  return tf.concat([tf.mul(value, column), column], 2);
}

/** Divides x `[groups, queries, valueDim + 1]` by its last column; a row whose normaliser is 0 gives 0. */
export function normalized(x: tf.Tensor): tf.Tensor {
  const [groups, rows, width] = x.shape as [number, number, number];
  const numerator = tf.slice(x, [0, 0, 0], [groups, rows, width - 1]);
  const normaliser = tf.slice(x, [0, 0, width - 1], [groups, rows, 1]);
  const one = detached(() => tf.cast(tf.equal(normaliser, 0), "float32"));
  return tf.div(numerator, tf.add(normaliser, one));
}
