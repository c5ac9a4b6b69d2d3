import * as tf from "@tensorflow/tfjs";

/** A lower bound: smaller variances mean that the attention always gives the same vector. */
const leastVariance = 1e-12;

/**
 * Measures how far the linear attention is from the teacher's, by head: the mean squared error over the unpadded queries,
 * divided by the variance of the teacher's output over them. A constant would reach 1.
 *
 * @param estimate - [batch, heads, queries, dim]
 * @param exact - [batch, heads, queries, dim]
 * @param weight - [batch, 1, queries, 1]: 1 at tokens, 0 at padding
 * @returns [heads]
 */
export function errorsByHead(estimate: tf.Tensor, exact: tf.Tensor, weight: tf.Tensor): tf.Tensor1D {
  return tf.tidy(() => meanByHead(errorsByQuery(estimate, exact, weight), weight));
}

/**
 * Like {@link errorsByHead}, but with every query's error e bounded to e / (1 + e) (Geman & McClure 1985), for estimates of
 * either sign. Their normaliser passes through zero, where the error of one query can outweigh all others: with
 * unbounded errors, distillation made trigonometric features worse. A constant would reach about 0.5.
 */
export function boundedErrorsByHead(estimate: tf.Tensor, exact: tf.Tensor, weight: tf.Tensor): tf.Tensor1D {
  return tf.tidy(() => {
    const errors = errorsByQuery(estimate, exact, weight);
    return meanByHead(tf.div(errors, tf.add(errors, 1)), weight);
  });
}

/** [batch, heads, queries, 1]: the mean squared error of a query, divided by the variance of its head. */
function errorsByQuery(estimate: tf.Tensor, exact: tf.Tensor, weight: tf.Tensor): tf.Tensor {
  const mean = tf.reshape(meanByHead(tf.mean(exact, 3, true), weight), [1, -1, 1, 1]);
  const variance = meanByHead(tf.mean(tf.square(tf.sub(exact, mean)), 3, true), weight);
  const scale = tf.reshape(tf.maximum(variance, tf.scalar(leastVariance)), [1, -1, 1, 1]);
  return tf.div(tf.mean(tf.square(tf.sub(estimate, exact)), 3, true), scale);
}

/** [batch, heads, queries, 1] to [heads], without padding. */
function meanByHead(values: tf.Tensor, weight: tf.Tensor): tf.Tensor1D {
  return tf.div(sumByHead(tf.mul(values, weight)), tf.sum(weight)) as tf.Tensor1D;
}

/** [batch, heads, queries, 1] to [heads]. */
function sumByHead(values: tf.Tensor): tf.Tensor {
  const [batch, heads] = values.shape as [number, number];
  return tf.sum(tf.sum(tf.reshape(values, [batch, heads, -1]), 2), 0);
}
