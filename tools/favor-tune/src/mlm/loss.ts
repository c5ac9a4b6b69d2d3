import * as tf from "@tensorflow/tfjs";

/**
 * Sums (1 - kl) CE + kl KL(teacher || student) over the masked tokens. Divide it by their number in the step.
 *
 * @param logits - logits of the student, [places, vocabulary].
 * @param targets - [places] token ids.
 * @param teacher - logits of the teacher, [places, vocabulary], or undefined if kl is 0.
 * @param kl - weight of the divergence, 0 to 1.
 */
export function maskedLoss(
  logits: tf.Tensor2D,
  targets: tf.Tensor1D,
  teacher: tf.Tensor2D | undefined,
  kl: number,
): tf.Scalar {
  const logProbabilities = tf.logSoftmax(logits);
  const picked = tf.mul(logProbabilities, tf.oneHot(targets, logits.shape[1]));
  const crossEntropy = tf.neg(tf.sum(picked)) as tf.Scalar;
  if (teacher === undefined) return crossEntropy;
  const expected = tf.softmax(teacher);
  const divergence = tf.sum(tf.mul(expected, tf.sub(tf.logSoftmax(teacher), logProbabilities)));
  return tf.add(tf.mul(crossEntropy, 1 - kl), tf.mul(divergence, kl)) as tf.Scalar;
}

/** Number of masked tokens whose target has the highest logit. */
export function correctCount(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Scalar {
  return tf.sum(tf.cast(tf.equal(tf.argMax(logits, 1), tf.cast(targets, "int32")), "float32"));
}
