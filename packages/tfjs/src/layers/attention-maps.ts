import { ArgumentError, exponentialForm } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import type * as tf from "@tensorflow/tfjs";
import { favorAttention } from "../ops/favor-attention.ts";
import type { FavorAttentionOptions } from "../ops/favor-attention.ts";
import { hybridAttention } from "../ops/hybrid-attention.ts";
import { requireExactKeys } from "../ops/hybrid/exact-keys.ts";
import type { ExactKeys } from "../ops/hybrid/exact-keys.ts";
import type { FeatureMaps } from "../ops/feature-parameters.ts";
import { describedDim, listDescriptions } from "../ops/feature-parameters.ts";

/**
 * "exact", which is softmax attention, or FAVOR with a feature map of @favor/core: one for all heads, or an array with one
 * per head. Models saved before have "softmax" for "exact"; both load, and "exact" is written.
 */
export type AttentionKind = "exact" | "softmax" | FeatureMaps;

/** Whether no key is estimated. */
export function isExact(attention: AttentionKind): attention is "exact" | "softmax" {
  return attention === "exact" || attention === "softmax";
}

/**
 * One description per head. A single random map gives each head its own projection: the `head` of its description
 * counts up from the one it has.
 *
 * @throws ArgumentError if `attention` is neither "exact" nor maps, or a map has another dim than `keyDim`, if given.
 */
export function mapsOfHeads(attention: FeatureMaps, heads: number, keyDim?: number): readonly FeatureMapDescription[] {
  requireAttention(attention);
  const listed = listDescriptions(attention, heads);
  const [first] = listed as [FeatureMapDescription];
  if (keyDim !== undefined && describedDim(first) !== keyDim) {
    throw new ArgumentError(
      "attention",
      `a feature map of dim ${keyDim}, the width of the layer's keys`,
      describedDim(first),
    );
  }
  if (listed.length > 1 || !("projection" in first)) return listed;
  return Array.from({ length: heads }, (_, h): FeatureMapDescription => {
    const head = (first.projection.head ?? 0) + h;
    return { ...first, projection: { ...first.projection, head } };
  });
}

/** @throws ArgumentError for anything but "exact", an object or a list of objects. */
function requireAttention(attention: AttentionKind): void {
  const given: readonly unknown[] = Array.isArray(attention) ? attention : [attention];
  if (isExact(attention) || given.every((each) => typeof each === "object" && each !== null)) return;
  const example = '{ version: 1, kind: "generalized", function: "relu", projection }';
  throw new ArgumentError("attention", `"exact" or feature map descriptions such as ${example}`, attention);
}

/**
 * The maps of layer `layer` in a stack, in which every layer draws its own projections.
 *
 * @throws ArgumentError for anything but "exact" and feature maps.
 */
export function attentionOfLayer(attention: AttentionKind, layer: number): AttentionKind {
  requireAttention(attention);
  if (isExact(attention)) return attention;
  const ofLayer = (map: FeatureMapDescription): FeatureMapDescription =>
    "projection" in map
      ? { ...map, projection: { ...map.projection, layer: (map.projection.layer ?? 0) + layer } }
      : map;
  return Array.isArray(attention) ? attention.map(ofLayer) : ofLayer(attention as FeatureMapDescription);
}

/**
 * Checks a layer's `exactKeys` when it is made.
 *
 * @throws ArgumentError if they are not what `hybridAttention` takes, or the attention is exact or a feature map without
 * an exponential form.
 */
export function requireLayerExactKeys(exactKeys: ExactKeys | undefined, attention: AttentionKind): void {
  requireAttention(attention);
  if (exactKeys === undefined) return;
  requireExactKeys(exactKeys);
  if (isExact(attention)) {
    throw new ArgumentError("exactKeys", "none with exact attention", exactKeys);
  }
  const [first] = Array.isArray(attention) ? (attention as readonly FeatureMapDescription[]) : [attention];
  if (exactKeys.window > 0) exponentialForm(first as FeatureMapDescription);
}

/** FAVOR, or hybrid attention if there are exact keys. */
export function linearAttentionOf(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  { exactKeys, ...options }: FavorAttentionOptions & { readonly exactKeys: ExactKeys | undefined },
): tf.Tensor4D {
  return exactKeys ? hybridAttention(q, k, v, { ...options, exactKeys }) : favorAttention(q, k, v, options);
}
