import * as tf from "@tensorflow/tfjs-core";
import { detached } from "./detached.ts";

/**
 * 1 for each key whose rows of k and v hold neither NaN nor infinity, else 0: `[..., keys, 1]`, without a gradient. A
 * product with the weight 0 hides only finite numbers, so keys that some queries see and others do not are replaced by
 * zeros if they are not finite, and the rows that see them by NaN.
 */
export function finiteKeys(k: tf.Tensor, v: tf.Tensor): tf.Tensor {
  return tf.minimum(finiteRows(k), finiteRows(v));
}

/** 1 for each row of x `[..., rows, width]` that is finite, else 0: `[..., rows, 1]`, without a gradient. */
export function finiteRows(x: tf.Tensor): tf.Tensor {
  return detached(() => tf.min(tf.where(tf.isFinite(x), tf.onesLike(x), tf.zerosLike(x)), x.rank - 1, true));
}

/** 0 where `finite` is 1, NaN where it is 0: added to what sees a key, it passes on that the key is not finite. */
export function nanUnless(finite: tf.Tensor): tf.Tensor {
  return detached(() => tf.where(tf.greater(finite, 0), tf.zerosLike(finite), tf.fill(finite.shape, Number.NaN)));
}
