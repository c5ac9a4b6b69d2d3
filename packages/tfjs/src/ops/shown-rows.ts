import * as tf from "@tensorflow/tfjs-core";
import { detached } from "./detached.ts";

/**
 * The rows of x `[..., rows, width]` where `shown`, which broadcasts to `[..., rows, 1]`, is above 0; zeros elsewhere. A
 * selection, because 0 times NaN is NaN.
 */
export function shownRows(x: tf.Tensor, shown: tf.Tensor): tf.Tensor {
  const isShown = detached(() => tf.greater(tf.mul(shown, tf.ones(x.shape)), 0));
  return tf.where(isShown, x, tf.zerosLike(x));
}
