import * as tf from "@tensorflow/tfjs";

/** Variances below are those of an attention that gives one and the same vector. */
const leastVariance = 1e-12;

/**
 * How far the linear attention is from the teacher's, by head: the mean squared error over the unpadded queries,
 * divided by the variance of the teacher's output over them. 1 is what a constant would reach.
 *
 * @param estimate - [batch, heads, queries, dim]
 * @param exact - [batch, heads, queries, dim]
 * @param weight - [batch, 1, queries, 1]: 1 at tokens, 0 at padding
 * @returns [heads]
 */
export function errorsByHead(estimate: tf.Tensor, exact: tf.Tensor, weight: tf.Tensor): tf.Tensor1D {
  const dim = exact.shape[3]!;
  return tf.tidy(() => {
    const count = tf.mul(tf.sum(weight), dim);
    const mean = tf.div(sumByHead(tf.mul(exact, weight)), count);
    const centred = tf.sub(exact, tf.reshape(mean, [1, -1, 1, 1]));
    const variance = tf.div(sumByHead(tf.mul(tf.square(centred), weight)), count);
    const error = tf.div(sumByHead(tf.mul(tf.square(tf.sub(estimate, exact)), weight)), count);
    return tf.div(error, tf.maximum(variance, tf.scalar(leastVariance))) as tf.Tensor1D;
  });
}

/** [batch, heads, queries, dim] to [heads]. */
function sumByHead(values: tf.Tensor): tf.Tensor {
  const [batch, heads] = values.shape as [number, number];
  return tf.sum(tf.sum(tf.reshape(values, [batch, heads, -1]), 2), 0);
}
