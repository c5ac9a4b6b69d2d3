import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { requireShape } from "../attention-inputs.ts";
import type { AttentionSizes } from "../attention-inputs.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { shownRows } from "./shown-rows.ts";

/** Query, key, value `[groups, length, width]` and the key weights `[groups, keys]`, 0 for a hidden key. */
export interface GroupedInputs {
  readonly q: tf.Tensor;
  readonly k: tf.Tensor;
  readonly v: tf.Tensor;
  readonly weights: tf.Tensor;
}

/** Batch and heads as one axis of groups, and back. */
export interface Grouping {
  readonly inputs: GroupedInputs;
  /** A mask `[batch, length]` as weights `[groups, length]`. */
  foldMask(mask: tf.Tensor): tf.Tensor;
  /** `[groups, queries, valueDim]` to `[batch, heads, queries, valueDim]`. */
  unfold(out: tf.Tensor): tf.Tensor4D;
}

/**
 * Folds q, k and v `[batch, heads, length, width]` into groups, with q and k each times the root of the scale, and hidden
 * keys and values replaced by zeros. With a map per head, groups are ordered by map first: then one matrix product serves
 * all sequences of a map.
 *
 * @throws ArgumentError, naming the argument, if the feature map or the mask does not fit.
 */
export function groupInputs(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  sizes: AttentionSizes,
  mask: tf.Tensor | undefined,
  parameters: FeatureParameters | undefined,
): Grouping {
  const { batch, heads, queries, keys, dim, valueDim, scale } = sizes;
  if (parameters && parameters.dim !== dim) {
    throw new ArgumentError("featureMap", `a map of dim ${dim}, as q`, parameters.dim);
  }
  const maps = parameters?.maps ?? 1;
  if (maps !== 1 && maps !== heads) throw new ArgumentError("projection", `one for each of ${heads} heads`, maps);
  if (mask) requireKeyMask(mask, sizes);
  const byHead = maps > 1;
  const fold = (x: tf.Tensor): tf.Tensor => {
    const ordered = byHead ? tf.transpose(x, [1, 0, 2, 3]) : x;
    return tf.reshape(ordered, [batch * heads, x.shape[2]!, x.shape[3]!]);
  };
  const foldMask = (given: tf.Tensor): tf.Tensor => {
    const weights = tf.expandDims(tf.cast(given, "float32"), byHead ? 0 : 1);
    const repeated = tf.mul(weights, tf.ones(byHead ? [heads, 1, 1] : [1, heads, 1]));
    return tf.reshape(repeated, [batch * heads, given.shape[1]!]);
  };
  const weights = mask && foldMask(mask);
  const show = (x: tf.Tensor): tf.Tensor => (weights ? shownRows(x, tf.expandDims(weights, 2)) : x);
  const root = Math.sqrt(scale);
  return {
    inputs: {
      q: tf.mul(fold(q), root),
      k: tf.mul(show(fold(k)), root),
      v: show(fold(v)),
      weights: weights ?? tf.ones([batch * heads, keys]),
    },
    foldMask,
    unfold: (out) => {
      const [outer, inner] = byHead ? [heads, batch] : [batch, heads];
      const unfolded = tf.reshape(out, [outer, inner, queries, valueDim]);
      return (byHead ? tf.transpose(unfolded, [1, 0, 2, 3]) : unfolded) as tf.Tensor4D;
    },
  };
}

/** Refuses a mask per query, which would need the whole attention matrix that linear attention never forms. */
function requireKeyMask(mask: tf.Tensor, { batch, keys }: AttentionSizes): void {
  if (mask.rank > 2) {
    const expected = `a padding mask [${batch}, ${keys}]: FAVOR has no masks per query (use causal: true, or softmax)`;
    throw new ArgumentError("mask", expected, `[${mask.shape}]`);
  }
  requireShape("mask", mask, [batch, keys]);
}
