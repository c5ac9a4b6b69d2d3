import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { attentionSizes, requireShape } from "../attention-inputs.ts";
import type { AttentionOptions, AttentionSizes } from "../attention-inputs.ts";
import { bidirectionalFavor } from "./bidirectional.ts";
import { causalFavor } from "./causal.ts";
import { featureParameters, listDescriptions } from "./feature-parameters.ts";
import type { FeatureMaps } from "./feature-parameters.ts";

export interface FavorAttentionOptions extends AttentionOptions {
  /** Any feature map of @favor/core: one for all heads, or one per head. Its `dim` is that of a query. */
  readonly featureMap: FeatureMaps;
  /**
   * `[count, dim]` or `[heads, count, dim]`; replaces the projection that the description draws, and receives
   * gradients. Only for maps with a random projection. Numbers that are not finite are refused on cpu, wasm and
   * tfjs-node. On webgl and webgpu, where checking them would wait for the device, they give NaN.
   */
  readonly projection?: tf.Tensor | undefined;
}

/**
 * FAVOR attention (2006.03555, 2009.14794). Estimates softmax(scale q.k) v in O(length) time and memory. A query that
 * sees no key gives 0.
 *
 * It is differentiable in q, k, v and `projection`. Only the inputs stay alive between the passes: features, `[batch,
 * heads, length, count]`, are recomputed in the backward pass, and nothing is ever of size length x length.
 *
 * @param q `[batch, heads, queries, dim]`, float32.
 * @param k `[batch, heads, keys, dim]`, float32.
 * @param v `[batch, heads, keys, valueDim]`, float32.
 * @returns `[batch, heads, queries, valueDim]`.
 * @throws ArgumentError, naming the argument, for a wrong rank, shapes that disagree, a mask per query, a feature map
 * or projection of the wrong size, or a projection that is not finite.
 */
export function favorAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, options: FavorAttentionOptions): tf.Tensor4D {
  const sizes = attentionSizes(q, k, v, options ?? {});
  const { batch, heads, queries, keys, dim, valueDim, scale } = sizes;
  const descriptions = listDescriptions(options?.featureMap, heads);
  if (options.mask) requireKeyMask(options.mask, sizes);
  return tf.tidy(() => {
    const parameters = featureParameters(descriptions, options.projection);
    const { maps } = parameters;
    if (parameters.dim !== dim) throw new ArgumentError("featureMap", `a map of dim ${dim}, as q`, parameters.dim);
    if (maps !== 1 && maps !== heads) throw new ArgumentError("projection", `one for each of ${heads} heads`, maps);
    // groups are ordered by map first: one matrix product serves all sequences of a map
    const byHead = maps > 1;
    const fold = (x: tf.Tensor): tf.Tensor => {
      const ordered = byHead ? tf.transpose(x, [1, 0, 2, 3]) : x;
      return tf.reshape(ordered, [batch * heads, x.shape[2]!, x.shape[3]!]);
    };
    const mask = options.mask && foldMask(options.mask, sizes, byHead);
    const show = (x: tf.Tensor): tf.Tensor => {
      if (!mask) return x;
      const shown = tf.greater(tf.mul(tf.expandDims(mask, 2), tf.ones([1, 1, x.shape[2]!])), 0);
      return tf.where(shown, x, tf.zerosLike(x));
    };
    const root = Math.sqrt(scale);
    const inputs = {
      q: tf.mul(fold(q), root),
      k: tf.mul(show(fold(k)), root),
      v: show(fold(v)),
      weights: mask ?? tf.ones([batch * heads, keys]),
    };
    const out = options.causal ? causalFavor(inputs, parameters) : bidirectionalFavor(inputs, parameters);
    const [outer, inner] = byHead ? [heads, batch] : [batch, heads];
    const unfolded = tf.reshape(out, [outer, inner, queries, valueDim]);
    return (byHead ? tf.transpose(unfolded, [1, 0, 2, 3]) : unfolded) as tf.Tensor4D;
  });
}

/** Refuses a mask per query, which would need the whole attention matrix that linear attention never forms. */
function requireKeyMask(mask: tf.Tensor, { batch, keys }: AttentionSizes): void {
  if (mask.rank > 2) {
    const expected = `a padding mask [${batch}, ${keys}]: FAVOR has no masks per query (use causal: true, or softmax)`;
    throw new ArgumentError("mask", expected, `[${mask.shape}]`);
  }
  requireShape("mask", mask, [batch, keys]);
}

/** `[batch, keys]` to `[groups, keys]` in float32. */
function foldMask(mask: tf.Tensor, { batch, heads, keys }: AttentionSizes, byHead: boolean): tf.Tensor {
  const weights = tf.expandDims(tf.cast(mask, "float32"), byHead ? 0 : 1);
  return tf.reshape(tf.mul(weights, tf.ones(byHead ? [heads, 1, 1] : [1, heads, 1])), [batch * heads, keys]);
}
