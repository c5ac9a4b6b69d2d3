import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";

/** `[batch, length, heads dim]` as `[batch, heads, length, dim]`. */
export function splitHeads(call: OperatorCall, source: tf.Tensor, heads: number): tf.Tensor4D {
  const [batch = 0, length = 0, width = 0] = source.shape;
  if (source.rank !== 3 || !Number.isInteger(width / heads)) {
    call.fail(`a tensor of shape ${shown(source.shape)} has no ${heads} heads`);
  }
  return tf.transpose(tf.reshape(source, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** `[batch, heads, length, dim]` as `[batch, length, heads dim]`. */
export function mergeHeads(source: tf.Tensor4D): tf.Tensor3D {
  const [batch, heads, length, width] = source.shape;
  return tf.reshape(tf.transpose(source, [0, 2, 1, 3]), [batch, length, heads * width]);
}

/** Each key and value head repeated for the query heads that share it: `[batch, own, ...]` to `[batch, heads, ...]`. */
export function repeatHeads(call: OperatorCall, source: tf.Tensor4D, heads: number): tf.Tensor4D {
  const [batch, own, length, width] = source.shape;
  if (own === heads) return source;
  const repeats = heads / own;
  if (!Number.isInteger(repeats)) call.fail(`${own} key heads do not divide ${heads} query heads`);
  // A product broadcasts with a cheap gradient; that of tile is slow.
  const spread = tf.mul(tf.reshape(source, [batch * own, 1, length * width]), tf.ones([1, repeats, 1]));
  return tf.reshape(spread, [batch, heads, length, width]);
}
