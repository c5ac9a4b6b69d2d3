import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { attentionSizes, requireShape } from "../attention-inputs.ts";
import type { AttentionOptions, AttentionSizes } from "../attention-inputs.ts";
import { lowerTriangle } from "../kernels/causal-chunks.ts";

export interface SoftmaxAttentionOptions extends Omit<AttentionOptions, "mask"> {
  /** `[batch, keys]`, or per query `[batch, queries, keys]` or `[batch, heads or 1, queries, keys]`; 0 hides. */
  readonly mask?: tf.Tensor | undefined;
  /** Applied to the attention weights before they multiply the values; for dropout. */
  readonly onWeights?: ((weights: tf.Tensor4D) => tf.Tensor4D) | undefined;
}

/**
 * Exact attention, softmax(scale q.k) v, with the arguments of `favorAttention`. O(queries keys) time and memory. As in
 * Keras, a query that sees no key attends to all keys evenly.
 *
 * @param q `[batch, heads, queries, dim]`, float32.
 * @param k `[batch, heads, keys, dim]`, float32.
 * @param v `[batch, heads, keys, valueDim]`, float32.
 * @returns `[batch, heads, queries, valueDim]`.
 * @throws ArgumentError, naming the argument, for a wrong rank or shapes that disagree.
 */
export function softmaxAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: SoftmaxAttentionOptions = {},
): tf.Tensor4D {
  const sizes = attentionSizes(q, k, v, options);
  return tf.tidy(() => {
    const weights = attentionWeights(q, k, sizes, options);
    return tf.matMul(options.onWeights?.(weights) ?? weights, v) as tf.Tensor4D;
  });
}

/**
 * Underflows in the exponential, yet is finite, so that a row of nothing else is even rather than NaN. Keras uses the
 * same.
 */
const hidden = -1e9;

function attentionWeights(
  q: tf.Tensor,
  k: tf.Tensor,
  sizes: AttentionSizes,
  { mask, causal = false }: SoftmaxAttentionOptions,
): tf.Tensor4D {
  let logits = tf.matMul(tf.mul(q, sizes.scale), k, false, true);
  if (mask) logits = tf.add(logits, hiddenTerm(maskPerQuery(mask, sizes)));
  if (causal) logits = tf.add(logits, hiddenTerm(lowerTriangle(sizes.queries, 0)));
  return tf.softmax(logits) as tf.Tensor4D;
}

function hiddenTerm(shown: tf.Tensor): tf.Tensor {
  return tf.mul(tf.sub(1, tf.cast(tf.notEqual(tf.cast(shown, "float32"), 0), "float32")), hidden);
}

/** A mask of any allowed rank as `[batch, heads or 1, queries or 1, keys]`. */
function maskPerQuery(mask: tf.Tensor, { batch, heads, queries, keys }: AttentionSizes): tf.Tensor {
  switch (mask.rank) {
    case 2:
      requireShape("mask", mask, [batch, keys]);
      return tf.reshape(mask, [batch, 1, 1, keys]);
    case 3:
      requireShape("mask", mask, [batch, queries, keys]);
      return tf.expandDims(mask, 1);
    case 4:
      requireShape("mask", mask, [batch, mask.shape[1] === 1 ? 1 : heads, queries, keys]);
      return mask;
    default:
      throw new ArgumentError("mask", "a tensor of rank 2 to 4 whose last dimension is the keys", `[${mask.shape}]`);
  }
}
