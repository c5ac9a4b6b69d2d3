import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";

/**
 * A function of one tensor, element by element, with its derivative in closed form: `value` is computed as a constant,
 * and the gradient is dy slope(x).
 */
export function differentiable(
  value: (x: tf.Tensor) => tf.Tensor,
  slope: (x: tf.Tensor) => tf.Tensor,
): (x: tf.Tensor) => tf.Tensor {
  const f = tf.customGrad((...parameters) => {
    const [x, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    save([x]);
    return {
      value: detached(() => value(x)),
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(dy, slope(saved[0]!)),
    };
  });
  return (x) => f(x);
}
