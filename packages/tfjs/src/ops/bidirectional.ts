import * as tf from "@tensorflow/tfjs-core";
import { detached } from "./detached.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import {
  isExponential,
  keyExponents,
  keyFeatures,
  queryExponents,
  queryFeatures,
  sumsThroughCore,
} from "./features.ts";
import { expWhere, lowestOf } from "./float-range.ts";
import type { GroupedInputs } from "./grouped-inputs.ts";
import { normalized, weightedValues } from "./normalized.ts";
import { recomputed } from "./recompute.ts";

/**
 * Bidirectional FAVOR (2006.03555, section 2.3): phi(Q) (phi(K)^T [V 1]), whose last column is the normaliser. Two
 * recomputed halves are joined by one row per feature, `[groups, count, valueDim + 1]`, so that the backward pass holds
 * the features of one side at a time. The result is `[groups, queries, valueDim]`.
 */
export function bidirectionalFavor({ q, k, v, weights }: GroupedInputs, parameters: FeatureParameters): tf.Tensor {
  const names = Object.keys(parameters.tensors);
  const arrays = Object.values(parameters.tensors);
  const named = (tensors: tf.Tensor[]): Record<string, tf.Tensor> =>
    Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
  const isSoftmax = isExponential(parameters) && !parameters.tensors["core"];
  const [summed, attend] = isSoftmax ? [featureMeans, softmaxOverFeatures] : [sumsOverKeys, weightedSums];
  const sums = recomputed((key, value, shown, ...rest) => summed(key!, value!, shown!, parameters, named(rest)));
  const attended = recomputed((query, sum, ...rest) => attend(query!, sum!, parameters, named(rest)));
  return attended(q, sums(k, v, weights, ...arrays), ...arrays);
}

type Named = Readonly<Record<string, tf.Tensor>>;

/**
 * What each feature of an exponential map sees: the mean of the values, weighted by phi_m(k), and the log of the sum of
 * these weights, up to one number for all features. Each feature is relative to its own largest key, so its sum is at
 * least the weight of a key, and nothing under- or overflows, whatever the scale of the inputs.
 */
function featureMeans(
  key: tf.Tensor,
  value: tf.Tensor,
  shown: tf.Tensor,
  parameters: FeatureParameters,
  t: Named,
): tf.Tensor {
  const { perFeature, perKey } = keyExponents(key, parameters, t);
  const isShown = detached(() => tf.greater(shown, 0));
  const relative = tf.sub(perKey, largestShown(isShown, perKey));
  const exponents = tf.add(perFeature, tf.expandDims(tf.where(isShown, relative, lowestOf(relative.shape)), 2));
  const largest = detached(() => tf.max(exponents, 1, true));
  const features = tf.exp(tf.sub(exponents, largest));
  const sums = tf.matMul(features, weightedValues(value, shown), true, false);
  const total = tf.slice(sums, [0, 0, sums.shape[2]! - 1], [-1, -1, 1]);
  // all 0 at once, if every key is hidden; the logs are then alike
  const isNone = detached(() => tf.cast(tf.equal(total, 0), "float32"));
  const logTotal = tf.add(tf.transpose(largest, [0, 2, 1]), tf.log(tf.add(total, isNone)));
  return tf.concat([normalized(sums), logTotal], 2);
}

/**
 * phi(q)^T S / phi(q)^T s with S and s as {@link featureMeans} gives them: a softmax over features, of log phi_m(q) plus
 * the log of what the feature sees.
 */
function softmaxOverFeatures(query: tf.Tensor, seen: tf.Tensor, parameters: FeatureParameters, t: Named): tf.Tensor {
  const width = seen.shape[2]! - 1;
  const means = tf.slice(seen, [0, 0, 0], [-1, -1, width]);
  const logTotal = tf.transpose(tf.slice(seen, [0, 0, width], [-1, -1, 1]), [0, 2, 1]);
  return tf.matMul(tf.softmax(tf.add(queryExponents(query, parameters, t), logTotal)), means);
}

/** phi(K)^T [V 1], relative to the largest of the visible keys, for maps whose features may be negative. */
function sumsOverKeys(
  key: tf.Tensor,
  value: tf.Tensor,
  shown: tf.Tensor,
  parameters: FeatureParameters,
  t: Named,
): tf.Tensor {
  const { features, logWeight } = keyFeatures(key, parameters, t);
  const weighted = weightedValues(value, relativeWeights(logWeight, shown));
  return sumsThroughCore(tf.matMul(features, weighted, true, false), t);
}

function weightedSums(query: tf.Tensor, sums: tf.Tensor, parameters: FeatureParameters, t: Named): tf.Tensor {
  return normalized(tf.matMul(queryFeatures(query, parameters, t), sums));
}

/** exp(logWeight - the largest of the visible keys) times the mask, `[groups, keys]`. */
function relativeWeights(logWeight: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const shown = detached(() => tf.greater(weights, 0));
  return tf.mul(expWhere(shown, tf.sub(logWeight, largestShown(shown, logWeight))), weights);
}

/** The largest log of the keys that are shown, `[groups, 1]`, without a gradient. */
function largestShown(isShown: tf.Tensor, logs: tf.Tensor): tf.Tensor {
  return detached(() => tf.max(tf.where(isShown, logs, lowestOf(logs.shape)), 1, true));
}
