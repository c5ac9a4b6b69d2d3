import { ArgumentError } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { attentionNames, attentionSizes, isEmpty, requireShape } from "../attention-inputs.ts";
import type { AttentionOptions, AttentionSizes } from "../attention-inputs.ts";
import { lowerTriangle } from "../kernels/causal-chunks.ts";
import { zerosOf } from "../kernels/zeros.ts";
import { detached } from "./detached.ts";
import { finiteKeys, nanUnless } from "./finite-keys.ts";
import { hiddenLogit } from "./float-range.ts";
import { shownRows } from "./shown-rows.ts";

export interface ExactAttentionOptions extends Omit<AttentionOptions, "mask"> {
  /** `[batch, keys]`, or per query `[batch, queries, keys]` or `[batch, heads or 1, queries, keys]`; 0 hides. */
  readonly mask?: tf.Tensor | undefined;
  /** Applied to the attention weights before they multiply the values; for dropout. */
  readonly onWeights?: ((weights: tf.Tensor4D) => tf.Tensor4D) | undefined;
}

const names: OptionNames<ExactAttentionOptions> = { ...attentionNames, onWeights: true };

/**
 * Softmax attention, softmax(scale q.k) v, with the arguments of `favorAttention` but no feature map. O(queries keys) time and
 * memory.
 *
 * A key that a query does not see, because of the mask or `causal`, changes no bit of its row, whatever it and its value hold,
 * NaN included. It changes no bit of the gradient for that query either, unless the product of its value with the gradient
 * overflows. Rows that see a key or a value that is not finite are NaN where queries see different keys. A query that sees no
 * key attends to all keys evenly, hidden ones included, as in Keras.
 *
 * @param q `[batch, heads, queries, dim]`, float32.
 * @param k `[batch, heads, keys, dim]`, float32.
 * @param v `[batch, heads, keys, valueDim]`, float32.
 * @returns `[batch, heads, queries, valueDim]`.
 * @throws ArgumentError, naming the argument, for a wrong rank or shapes that disagree; FavorError `unknown-option`.
 */
export function exactAttention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  options: ExactAttentionOptions = {},
): tf.Tensor4D {
  const sizes = attentionSizes(q, k, v, options, names, { featureMap: " favorAttention takes it." });
  const { batch, heads, queries, keys, valueDim, scale } = sizes;
  if (isEmpty(sizes)) {
    options.onWeights?.(tf.zeros([batch, heads, queries, keys]));
    return zerosOf([q, k, v], [batch, heads, queries, valueDim]) as tf.Tensor4D;
  }
  return tf.tidy(() => {
    const mask = options.mask && detached(() => maskPerQuery(options.mask!, sizes));
    const seen = detached(() => seenKeys(mask, options.causal ?? false, queries));
    const visible = mask && detached(() => tf.transpose(tf.max(mask, 2, true), [0, 1, 3, 2]));
    const finite = seen && seen.shape.at(-2) !== 1 ? finiteKeys(k, v) : undefined;
    const kept = visible && finite ? detached(() => tf.mul(visible, finite)) : (visible ?? finite);
    const keptOf = (x: tf.Tensor): tf.Tensor => (kept ? shownRows(x, kept) : x);
    let logits = tf.matMul(tf.mul(q, scale), keptOf(k), false, true);
    if (finite) logits = tf.add(logits, nanUnless(tf.transpose(finite, [0, 1, 3, 2])));
    if (seen) logits = seenLogits(logits, seen, mask !== undefined);
    const weights = tf.softmax(logits) as tf.Tensor4D;
    const out = tf.matMul(options.onWeights?.(weights) ?? weights, keptOf(v));
    return (mask ? tf.add(out, meanOfHidden(v, kept!, seen!)) : out) as tf.Tensor4D;
  });
}

/** {@link hiddenLogit} for the logits of hidden keys, or 0 for all logits of a query that sees no key. */
function seenLogits(logits: tf.Tensor, seen: tf.Tensor, maySeeNone: boolean): tf.Tensor {
  const { isSeen, hidden } = detached(() =>
    tf.tidy(() => {
      const all = tf.mul(seen, tf.ones(logits.shape));
      const lowest = tf.fill(logits.shape, hiddenLogit());
      if (!maySeeNone) return { isSeen: tf.greater(all, 0), hidden: lowest };
      const any = tf.mul(tf.max(seen, seen.rank - 1, true), tf.ones(logits.shape));
      return { isSeen: tf.greater(all, 0), hidden: tf.where(tf.greater(any, 0), lowest, tf.zeros(logits.shape)) };
    }),
  );
  return tf.where(isSeen, logits, hidden);
}

/** 1 where a query sees a key, of a shape that broadcasts to `[batch, heads, queries, keys]`. */
function seenKeys(mask: tf.Tensor | undefined, causal: boolean, queries: number): tf.Tensor | undefined {
  if (!causal) return mask;
  const triangle = lowerTriangle(queries, 0);
  return mask ? tf.mul(mask, triangle) : triangle;
}

/** What the values that are not kept add to the mean of all values, for the queries that see no key; 0 for all others. */
function meanOfHidden(v: tf.Tensor, kept: tf.Tensor, seen: tf.Tensor): tf.Tensor {
  const hidden = shownRows(
    v,
    detached(() => tf.sub(1, kept)),
  );
  const none = detached(() => tf.sub(1, tf.max(seen, 3, true)));
  return shownRows(tf.mul(tf.mean(hidden, 2, true), tf.ones([1, 1, none.shape[2]!, 1])), none);
}

/** A mask of any allowed rank as `[batch, heads or 1, queries or 1, keys]`, 1 or 0. */
function maskPerQuery(mask: tf.Tensor, sizes: AttentionSizes): tf.Tensor {
  const isShown = tf.notEqual(tf.cast(mask, "float32"), 0);
  // not a cast of isShown, which webgpu of tfjs 4.22 cannot reduce
  const numbers = tf.where(isShown, tf.ones(mask.shape), tf.zeros(mask.shape));
  return tf.reshape(numbers, shapePerQuery(mask, sizes));
}

function shapePerQuery(mask: tf.Tensor, { batch, heads, queries, keys }: AttentionSizes): number[] {
  switch (mask.rank) {
    case 2:
      requireShape("mask", mask, [batch, keys]);
      return [batch, 1, 1, keys];
    case 3:
      requireShape("mask", mask, [batch, queries, keys]);
      return [batch, 1, queries, keys];
    case 4:
      requireShape("mask", mask, [batch, mask.shape[1] === 1 ? 1 : heads, queries, keys]);
      return mask.shape;
    default:
      throw new ArgumentError("mask", "a tensor of rank 2 to 4 whose last dimension is the keys", `[${mask.shape}]`);
  }
}
