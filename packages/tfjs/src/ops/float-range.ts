import * as tf from "@tensorflow/tfjs-core";

/** Whether tensors of the current backend hold half precision: WebGL on devices without float32 textures. */
function isHalf(): boolean {
  return tf.getBackend() === "webgl" && !tf.env().getBool("WEBGL_RENDER_FLOAT32_ENABLED");
}

/**
 * Stands for the log of 0: below every relevant exponent, and far enough from the limits of the backend's floats for a
 * difference of two. Half precision ends at 65,504.
 */
export function lowest(): number {
  return isHalf() ? -3e4 : -1e30;
}

/** A tensor of {@link lowest}. */
export function lowestOf(shape: number[]): tf.Tensor {
  return tf.fill(shape, lowest());
}

/** exp(x) where `counts` holds, and 0 elsewhere, whatever x is there. */
export function expWhere(counts: tf.Tensor, x: tf.Tensor): tf.Tensor {
  return tf.exp(tf.where(counts, x, lowestOf(x.shape)));
}

/** The logit of a hidden key, whose exponential is 0. In half precision infinity would make the softmax NaN. */
export function hiddenLogit(): number {
  return isHalf() ? -3e4 : -Infinity;
}

/** Sums of estimates that are no larger, relative to the largest possible one, have lost their digits and count as none. */
export function leastSum(): number {
  return isHalf() ? 2 ** -14 : 1e-30;
}

/** A normaliser below it has lost its digits, and gradients divided by it would overflow once they are summed. */
export function leastNormaliser(): number {
  return isHalf() ? 2 ** -9 : 1e-30;
}
