import * as tf from "@tensorflow/tfjs";

/** Keeps the gradient finite at vectors of zeros. */
const leastSquare = 1e-12;

/**
 * How far vectors are from those they should be: the mean of 1 - cos(y, t), plus the squared error sum |y - t|^2 by the
 * sum of |t|^2. The cosine sees directions, which embeddings are compared by; the error sees lengths, too. The caller
 * tidies.
 *
 * @param found - [rows, width]: y
 * @param wanted - [rows, width]: t
 * @param weights - [rows, 1]: how much each row counts, 0 for padding
 */
export function vectorDistance(found: tf.Tensor2D, wanted: tf.Tensor2D, weights: tf.Tensor2D): tf.Scalar {
  const lengths = tf.mul(sumOf(tf.square(found)), sumOf(tf.square(wanted)));
  const cosines = tf.div(sumOf(tf.mul(found, wanted)), tf.sqrt(tf.maximum(lengths, leastSquare)));
  const apart = tf.div(tf.sum(tf.mul(tf.sub(1, cosines), weights)), tf.sum(weights));
  const error = tf.sum(tf.mul(tf.squaredDifference(found, wanted), weights));
  const size = tf.maximum(tf.sum(tf.mul(tf.square(wanted), weights)), leastSquare);
  return tf.add(apart, tf.div(error, size)) as tf.Scalar;
}

/** [rows, 1] */
function sumOf(value: tf.Tensor): tf.Tensor {
  return tf.sum(value, 1, true);
}
