import * as tf from "@tensorflow/tfjs-core";

/**
 * The gradient of `max`: dy where x is the maximum. The original compares x with a maximum that broadcasts, for which
 * the wasm backend takes a dozen times as long as for one of x's own shape.
 */
export const maxGradient: tf.GradFunc = (dy, saved, attrs) => {
  const [x, y] = saved as [tf.Tensor, tf.Tensor];
  const axes = tf.util.parseAxisParam((attrs as { reductionIndices: number | number[] }).reductionIndices, x.shape);
  const kept = x.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
  const reps = x.shape.map((size, axis) => (axes.includes(axis) ? size : 1));
  return {
    x: () => {
      const isLargest = tf.equal(x, tf.tile(tf.reshape(y, kept), reps));
      return tf.mul(tf.reshape(dy as tf.Tensor, kept), tf.cast(isLargest, "float32"));
    },
  };
};
