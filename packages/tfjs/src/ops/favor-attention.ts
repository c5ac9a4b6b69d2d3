import { ArgumentError } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { attentionNames, attentionSizes, isEmpty } from "../attention-inputs.ts";
import type { AttentionOptions } from "../attention-inputs.ts";
import { zerosOf } from "../kernels/zeros.ts";
import { bidirectionalFavor } from "./bidirectional.ts";
import { causalFavor } from "./causal.ts";
import { featureParameters, listDescriptions } from "./feature-parameters.ts";
import type { FeatureMaps } from "./feature-parameters.ts";
import { FavorState } from "./favor-state.ts";
import { groupInputs } from "./grouped-inputs.ts";

export interface FavorAttentionOptions extends AttentionOptions {
  /** Any feature map of @favor/core: one for all heads, or one per head. Its `dim` is that of a query. */
  readonly featureMap: FeatureMaps;
  /**
   * `[count, dim]` or `[heads, count, dim]`; replaces the projection that the description draws, and receives
   * gradients. Only for maps with a random projection. Numbers that are not finite are refused on cpu, wasm and
   * tfjs-node. On webgl and webgpu, where checking them would wait for the device, they give NaN.
   */
  readonly projection?: tf.Tensor | undefined;
  /**
   * Causal only: the tokens of earlier calls, made by `startFavor` and updated in place. Calls for some tokens at a time give
   * what one call for all gives. No gradient goes through earlier calls. Default: none.
   */
  readonly state?: FavorState | undefined;
}

const names: OptionNames<FavorAttentionOptions> = {
  ...attentionNames,
  featureMap: true,
  projection: true,
  state: true,
};

/**
 * FAVOR attention (2006.03555, 2009.14794). Estimates softmax(scale q.k) v in O(length) time and memory. A query that
 * sees no key gives 0. With `state`, causal attention continues a sequence.
 *
 * It is differentiable in q, k, v and `projection`. Only the inputs stay alive between the passes: features, `[batch,
 * heads, length, count]`, are recomputed in the backward pass, and nothing is ever of size length x length.
 *
 * @param q `[batch, heads, queries, dim]`, float32.
 * @param k `[batch, heads, keys, dim]`, float32.
 * @param v `[batch, heads, keys, valueDim]`, float32.
 * @returns `[batch, heads, queries, valueDim]`.
 * @throws ArgumentError, naming the argument, for a wrong rank, shapes that disagree, a mask per query, a feature map
 * or projection of the wrong size, or a projection that is not finite; FavorError `unknown-option`.
 */
export function favorAttention(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, options: FavorAttentionOptions): tf.Tensor4D {
  const sizes = attentionSizes(q, k, v, options ?? {}, names, {
    exactKeys: " hybridAttention takes it.",
    queryMask: " hybridAttention takes it.",
  });
  const descriptions = listDescriptions(options?.featureMap, sizes.heads);
  const { causal = false, state } = options;
  requireState(state, causal);
  if (isEmpty(sizes))
    return zerosOf([q, k, v], [sizes.batch, sizes.heads, sizes.queries, sizes.valueDim]) as tf.Tensor4D;
  return tf.tidy(() => {
    const parameters = featureParameters(descriptions, options.projection);
    const { inputs, unfold } = groupInputs(q, k, v, sizes, options.mask, parameters);
    if (state) {
      const { projection } = options;
      return unfold(state.continue(inputs, parameters, { ...sizes, maps: descriptions, projection }));
    }
    return unfold(causal ? causalFavor(inputs, parameters) : bidirectionalFavor(inputs, parameters));
  });
}

function requireState(state: unknown, causal: boolean): void {
  if (state === undefined) return;
  if (!(state instanceof FavorState)) throw new ArgumentError("state", "what startFavor() gives", state);
  if (!causal) throw new ArgumentError("state", "none without causal: true", "one");
}
