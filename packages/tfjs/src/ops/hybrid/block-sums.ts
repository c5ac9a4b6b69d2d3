import * as tf from "@tensorflow/tfjs-core";
import { detached } from "../detached.ts";
import type { FeatureParameters } from "../feature-parameters.ts";
import { keyFeatures } from "../features.ts";
import { expWhere, lowestOf } from "../float-range.ts";
import { finiteRows, nanUnless } from "../finite-keys.ts";
import type { GroupedInputs } from "../grouped-inputs.ts";
import { weightedValues } from "../normalized.ts";
import { recomputed } from "../recompute.ts";
import { shownRows } from "../shown-rows.ts";
import type { BlockLayout } from "./exact-keys.ts";

/** phi(K)^T [V 1] of every block of keys. */
export interface BlockSums {
  /** `[groups, keyBlocks, count * (valueDim + 1)]`, relative to exp(scale). */
  readonly sums: tf.Tensor;
  /** `[groups, keyBlocks]`, without a gradient; {@link lowest} for a block without a visible key. */
  readonly scales: tf.Tensor;
  readonly count: number;
}

/**
 * The sums of phi(k) [v 1] over each block, each relative to its own largest key: a key that is exact, and so left out,
 * then never decides how small the others are. Features are recomputed in the backward pass.
 *
 * @param keys Padded to whole blocks with weight 0.
 */
export function blockSums(
  { k, v, weights }: Omit<GroupedInputs, "q">,
  { keyBlocks, window }: BlockLayout,
  parameters: FeatureParameters,
): BlockSums {
  const names = Object.keys(parameters.tensors);
  const named = (tensors: readonly tf.Tensor[]): Record<string, tf.Tensor> =>
    Object.fromEntries(names.map((name, i) => [name, tensors[i]!]));
  const [groups, , valueDim] = v.shape as [number, number, number];
  const blocked = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [groups, keyBlocks, window]);
  let count = 0;
  const scales = detached(() =>
    tf.tidy(() => {
      const { logWeight } = keyFeatures(k, parameters, parameters.tensors);
      const shown = tf.greater(weights, 0);
      return tf.max(blocked(tf.where(shown, logWeight, lowestOf(logWeight.shape))), 2);
    }),
  );
  const sums = recomputed((key, value, shown, scale, ...rest) => {
    const { features, logWeight } = keyFeatures(key!, parameters, named(rest));
    count = features.shape[2]!;
    const isShown = detached(() => blocked(tf.greater(shown!, 0)));
    const relative = tf.sub(blocked(logWeight), tf.expandDims(scale!, 2));
    const factors = tf.mul(tf.reshape(expWhere(isShown, relative), weights.shape), shown!);
    const byBlock = (x: tf.Tensor): tf.Tensor => tf.reshape(x, [groups * keyBlocks, window, x.shape[2]!]);
    const made = tf.matMul(byBlock(features), byBlock(weightedValues(value!, factors)), true, false);
    return tf.reshape(made, [groups, keyBlocks, count * (valueDim + 1)]);
  })(k, v, weights, scales, ...Object.values(parameters.tensors));
  return { sums, scales, count };
}

/**
 * The sums over the blocks that are estimated for each block of queries, without a difference: of all but the exact ones.
 *
 * @param estimated `[groups, queryBlocks, keyBlocks]`, 1 where a block is estimated, else 0.
 * @returns the sums `[groups * queryBlocks, count, valueDim + 1]`, relative to exp(scale), and the scales
 * `[groups * queryBlocks]`, without a gradient; {@link lowest} if nothing is estimated.
 */
export function sumEstimated(
  sums: tf.Tensor,
  scales: tf.Tensor,
  estimated: tf.Tensor,
  count: number,
): { readonly sums: tf.Tensor; readonly scale: tf.Tensor } {
  const [groups, queryBlocks, keyBlocks] = estimated.shape as [number, number, number];
  // a sum that overflowed reaches the queries that it is estimated for, and no others: 0 times infinity is NaN
  const finite = detached(() => finiteRows(sums));
  const { factors, scale } = detached(() => {
    const floor = lowestOf([groups, queryBlocks, keyBlocks]);
    const counted = tf.greater(estimated, 0);
    const own = tf.where(counted, tf.mul(tf.expandDims(scales, 1), tf.ones([1, queryBlocks, 1])), floor);
    const largest = tf.max(own, 2, true);
    const exponents = tf.add(tf.sub(own, largest), nanUnless(tf.transpose(finite, [0, 2, 1])));
    return { factors: expWhere(counted, exponents), scale: tf.reshape(largest, [groups * queryBlocks]) };
  });
  const width = sums.shape[2]! / count;
  return { sums: tf.reshape(tf.matMul(factors, shownRows(sums, finite)), [groups * queryBlocks, count, width]), scale };
}
