import { detached } from "@favor/tfjs/operations";
import { broadcastDims } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";
import { chosen } from "./choice.ts";
import { definedProduct } from "./defined-product.ts";

export interface AttentionParts {
  /** `[batch, heads, queries, dim]` */
  readonly query: tf.Tensor4D;
  /** `[batch, heads, keys, dim]` */
  readonly key: tf.Tensor4D;
  /** `[batch, heads, keys, valueDim]` */
  readonly value: tf.Tensor4D;
  readonly scale: number;
  /** Added to the logits, and broadcast to them. */
  readonly biases: readonly tf.Tensor[];
  /** Whether a query may have a bias of -Infinity for every key; it attends to nothing then: 0. */
  readonly mayHideAll: boolean;
  /** Before the biases, logits become softcap tanh(logits / softcap); 0 turns this off. */
  readonly softcap?: number;
}

/** The stages of attention, `[batch, heads, queries, keys]` each but the output, `[batch, heads, queries, valueDim]`. */
export interface AttentionStages {
  readonly logits: tf.Tensor4D;
  readonly capped: tf.Tensor4D;
  readonly biased: tf.Tensor4D;
  readonly probabilities: tf.Tensor4D;
  readonly output: tf.Tensor4D;
}

/** softmax(scale Q K' + bias) V. */
export function softmaxAttention(call: OperatorCall, parts: AttentionParts): AttentionStages {
  const { query, key, value, scale, biases, mayHideAll, softcap = 0 } = parts;
  const logits = definedProduct(tf.mul(query, scale), key, false, true) as tf.Tensor4D;
  const capped = softcap > 0 ? (tf.mul(tf.tanh(tf.div(logits, softcap)), softcap) as tf.Tensor4D) : logits;
  if (biases.length === 0) {
    const probabilities = tf.softmax(capped);
    return { logits, capped, biased: capped, probabilities, output: definedProduct(probabilities, value) };
  }
  const bias = biases.reduce((a, b) => tf.add(a, b));
  if (!tf.util.arraysEqual(broadcastDims(call, logits.shape, bias.shape), logits.shape)) {
    call.fail(`a mask of shape ${shown(bias.shape)} does not broadcast to ${shown(logits.shape)}`);
  }
  const biased = tf.add(capped, bias) as tf.Tensor4D;
  const probabilities = mayHideAll ? openProbabilities(call, capped, bias) : (tf.softmax(biased) as tf.Tensor4D);
  return { logits, capped, biased, probabilities, output: definedProduct(probabilities, value) };
}

/**
 * Softmax along the keys; zeros where the bias hides every key, without a NaN on the way, because the backward
 * pass would carry it on.
 */
function openProbabilities(call: OperatorCall, capped: tf.Tensor4D, bias: tf.Tensor): tf.Tensor4D {
  const closed = detached(() => tf.equal(tf.max(bias, -1, true), -Infinity));
  const finite = chosen(closed, tf.scalar(0), bias, broadcastDims(call, closed.shape, bias.shape));
  const open = tf.sub(1, tf.cast(closed, "float32"));
  return tf.mul(tf.softmax(tf.add(capped, finite)), open);
}
