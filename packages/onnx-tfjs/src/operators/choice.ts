import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import { expanded } from "./shape.ts";

/** Whether each element is not 0. */
export const truth = (x: tf.Tensor): tf.Tensor => tf.cast(x, "bool");

/** The sum of `x` over the axes along which a tensor of shape `dims` was repeated to x's shape. */
export function summedTo(x: tf.Tensor, dims: readonly number[]): tf.Tensor {
  const missing = x.rank - dims.length;
  const axes = x.shape.flatMap((dim, axis) =>
    axis < missing || (dims[axis - missing] === 1 && dim !== 1) ? [axis] : [],
  );
  return tf.reshape(axes.length === 0 ? x : tf.sum(x, axes), [...dims]);
}

/**
 * condition ? x : y, all three broadcast to `dims`. Each branch gets the gradient of the elements taken from it, whatever the
 * other branch holds there, even NaN. (tf.where repeats every operand first, and sums gradients by slices.)
 */
export function chosen(condition: tf.Tensor, x: tf.Tensor, y: tf.Tensor, dims: readonly number[]): tf.Tensor {
  const choose = tf.customGrad((...parameters) => {
    const [a, b, save] = parameters as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const mask = truth(condition);
    save([mask]);
    const value = tf.where(expanded(mask, dims), expanded(a, dims), expanded(b, dims));
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const whole = dims.length === 0 ? saved[0]! : expanded(saved[0]!, dims);
        const nothing = tf.zerosLike(dy);
        return [summedTo(tf.where(whole, dy, nothing), a.shape), summedTo(tf.where(whole, nothing, dy), b.shape)];
      },
    };
  });
  return choose(x, y);
}

/** x where the condition holds, and `otherwise` elsewhere; the condition, a comparison, has no gradient. */
export function keptWhere(condition: () => tf.Tensor, x: tf.Tensor, otherwise: number = 0): tf.Tensor {
  return chosen(detached(condition), x, tf.scalar(otherwise), x.shape);
}
