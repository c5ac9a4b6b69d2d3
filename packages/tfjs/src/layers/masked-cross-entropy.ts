import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { numbersOnHost, requireTensor } from "../attention-inputs.ts";

/**
 * The mean of -log softmax(logits)[label] over the labelled positions, in nats; 0 if there are none. Differentiable in
 * the logits. Use it as the loss of `model.compile` with `model.fitDataset`, or in an optimizer's `minimize`.
 *
 * @param labels `[batch, length]` or `[batch, length, 1]`: the token to predict, or a negative number for none.
 * @param logits `[batch, length, vocabularySize]`.
 * @throws ArgumentError if the shapes disagree, and, on cpu, wasm and tfjs-node, if a label has no logit.
 */
export function maskedCrossEntropy(labels: tf.Tensor, logits: tf.Tensor): tf.Scalar {
  requireTensor("labels", labels, "[batch, length]");
  requireTensor("logits", logits, "[batch, length, vocabularySize]");
  if (logits.rank !== 3) throw new ArgumentError("logits", "[batch, length, vocabularySize]", `[${logits.shape}]`);
  const [batch, length, vocabulary] = logits.shape as [number, number, number];
  if (labels.size !== batch * length || labels.shape[0] !== batch) {
    throw new ArgumentError("labels", `[${batch}, ${length}]`, `[${labels.shape}]`);
  }
  const unknown = Array.prototype.find.call(numbersOnHost(labels) ?? [], (label: number) => label >= vocabulary);
  if (unknown !== undefined) throw new ArgumentError("labels", `less than vocabularySize, ${vocabulary}`, unknown);
  return tf.tidy(() => {
    const flat = tf.reshape(labels, [batch * length]);
    const counted = tf.cast(tf.greaterEqual(flat, 0), "float32");
    const tokens = tf.cast(tf.maximum(flat, 0), "int32") as tf.Tensor1D;
    const wanted = tf.mul(tf.oneHot(tokens, vocabulary), tf.expandDims(counted, 1));
    const logProbabilities = tf.logSoftmax(tf.reshape(logits, [batch * length, vocabulary]));
    const total = tf.sum(tf.mul(wanted, logProbabilities));
    return tf.neg(tf.div(total, tf.maximum(tf.sum(counted), 1)));
  });
}
