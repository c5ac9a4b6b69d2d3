import * as tf from "@tensorflow/tfjs-core";

/**
 * tf.matMul, which is 0 where the inner dimension is empty: a sum without terms. The kernel of wasm then leaves what was
 * in its memory.
 */
export function definedProduct<T extends tf.Tensor>(a: T, b: T, transposeA = false, transposeB = false): T {
  const inner = a.shape.at(transposeA ? -2 : -1)!;
  if (inner !== 0 || tf.getBackend() !== "wasm") return tf.matMul(a, b, transposeA, transposeB);
  const batch = tf.backend_util.assertAndGetBroadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  const dims = [...batch, a.shape.at(transposeA ? -1 : -2)!, b.shape.at(transposeB ? -2 : -1)!];
  const multiply = tf.customGrad(() => ({
    value: tf.zeros(dims),
    gradFunc: () => [tf.zeros(a.shape), tf.zeros(b.shape)],
  }));
  return multiply(a, b) as T;
}
