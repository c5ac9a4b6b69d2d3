import * as tf from "@tensorflow/tfjs-core";
import { leastNormaliser, leastSum } from "./float-range.ts";

/** [V 1] times a weight per key, `[groups, keys, valueDim + 1]`. */
export function weightedValues(value: tf.Tensor, weights: tf.Tensor): tf.Tensor {
  const column = tf.expandDims(weights, 2);
  return tf.concat([tf.mul(value, column), column], 2);
}

/**
 * y = x / n for x `[groups, rows, width + 1]` with n its last column. A row whose |n| is at most {@link leastSum}, 1e-30 in
 * float32, gives 0, and so does its gradient: below that, sums lose their digits and gradients overflow.
 *
 * The gradient is dx = dy / n and dn = -sum(dy y) / n. That of a division would divide by n^2, which is 0 in float32
 * long before n is.
 */
export function normalized(x: tf.Tensor): tf.Tensor {
  return tf.customGrad((...parameters) => {
    const [sums, save] = parameters as unknown[] as [tf.Tensor3D, tf.GradSaveFunc];
    const width = sums.shape[2] - 1;
    const normaliser = tf.slice(sums, [0, 0, width], [-1, -1, 1]);
    // false for NaN, which stays NaN
    const isLost = tf.cast(tf.lessEqual(tf.abs(normaliser), leastSum()), "float32");
    const quotient = tf.div(tf.slice(sums, [0, 0, 0], [-1, -1, width]), tf.add(normaliser, isLost));
    const y = tf.mul(quotient, tf.sub(1, isLost));
    save([y, normaliser]);
    return { value: y, gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => quotientGradient(dy, saved[0]!, saved[1]!) };
  })(x);
}

function quotientGradient(dy: tf.Tensor, y: tf.Tensor, normaliser: tf.Tensor): tf.Tensor {
  const counts = tf.greater(tf.abs(normaliser), leastNormaliser());
  const inverse = tf.where(
    counts,
    tf.div(1, tf.where(counts, normaliser, tf.onesLike(normaliser))),
    tf.zerosLike(normaliser),
  );
  const dx = tf.mul(dy, inverse);
  return tf.concat([dx, tf.neg(tf.sum(tf.mul(dx, y), 2, true))], 2);
}
