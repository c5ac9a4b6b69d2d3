import * as tf from "@tensorflow/tfjs-core";

/**
 * The gradient of `tile` (and so of `broadcastTo`, `layerNormalization` and `batchNorm`) as one sum per repeated axis.
 * The original takes one slice and one addition per repetition: thousands of kernels for a sequence.
 */
export const tileGradient: tf.GradFunc = (dy, saved, attrs) => {
  const [x] = saved as [tf.Tensor];
  const { reps } = attrs as { reps: number[] };
  return {
    x: () => {
      let sum = dy as tf.Tensor;
      for (const [axis, count] of reps.entries()) {
        if (count === 1) continue;
        const shape = sum.shape;
        const size = x.shape[axis]!;
        const outer = tf.util.sizeFromShape(shape.slice(0, axis));
        const inner = tf.util.sizeFromShape(shape.slice(axis + 1));
        const repeated = tf.reshape(sum, [outer, count, size * inner]);
        sum = tf.reshape(tf.sum(repeated, 1), [...shape.slice(0, axis), size, ...shape.slice(axis + 1)]);
      }
      return sum;
    },
  };
};
