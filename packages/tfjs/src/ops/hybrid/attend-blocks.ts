import * as tf from "@tensorflow/tfjs-core";
import { detached } from "../detached.ts";
import type { FeatureParameters } from "../feature-parameters.ts";
import { queriesThroughCore, scaledQueryFeatures } from "../features.ts";
import { expWhere, leastSum, lowestOf } from "../float-range.ts";
import { normalized } from "../normalized.ts";
import { sumEstimated } from "./block-sums.ts";
import type { BlockSums } from "./block-sums.ts";
import type { BlockLayout } from "./exact-keys.ts";
import { isFar } from "./exact-keys.ts";
import { firstPart, nearAndChosen } from "./exact-parts.ts";
import type { ExactPart, FirstKey, KeyBlocks } from "./exact-parts.ts";

/** What estimates the keys that are not exact. */
interface FarField extends BlockSums {
  readonly parameters: FeatureParameters;
  /** Those of the parameters. */
  readonly tensors: Readonly<Record<string, tf.Tensor>>;
}

/** What blocks of queries attend to. */
export interface Attended extends KeyBlocks {
  /** `[groups, blocks, chosenBlocks]`; -1 for none. */
  readonly chosen: tf.Tensor | undefined;
  readonly first: FirstKey | undefined;
  readonly far: FarField | undefined;
}

/**
 * Hybrid attention of the blocks of queries from `from` on: near and chosen blocks and the first key exact, the others by
 * features, in one numerator and one normaliser. Both parts are relative to the larger of them, row by row, as two partial
 * softmaxes are joined.
 *
 * @param query `[groups, blocks * window, dim]`.
 * @returns `[groups, blocks * window, valueDim]`.
 */
export function attendBlocks(query: tf.Tensor, attended: Attended, layout: BlockLayout, from: number): tf.Tensor {
  const { window } = layout;
  const [groups, rows, dim] = query.shape as [number, number, number];
  const items = (groups * rows) / window;
  const byBlock = tf.reshape(query, [items, window, dim]);
  const { first, far } = attended;
  const parts = [
    nearAndChosen(byBlock, attended, attended.chosen, layout, from),
    first && firstPart(byBlock, first, layout, from),
  ].filter((part) => part !== undefined);
  const estimate = far && estimated(query, far, attended.chosen, layout, from);
  const reference = detached(() => {
    const largest = parts.map(({ logits, shown }) => tf.max(tf.where(shown, logits, lowestOf(logits.shape)), 2, true));
    return [...largest, ...(estimate ? [estimate.logMass] : [])].reduce((a, b) => tf.maximum(a, b));
  });
  const sums = parts.map(({ logits, shown, values }) => weighted(expWhere(shown, tf.sub(logits, reference)), values));
  if (estimate) sums.push(tf.mul(estimate.sums, estimate.factor(reference)));
  const out = normalized(sums.reduce((a, b) => tf.add(a, b)));
  return tf.reshape(out, [groups, rows, out.shape[2]!]);
}

function weighted(weights: tf.Tensor, values: ExactPart["values"]): tf.Tensor {
  return values.shape[1] === 1 ? tf.mul(weights, values) : tf.matMul(weights, values);
}

/** The far field of each query, up to its factor. */
interface Estimate {
  /** phi(q)^T S `[items, window, valueDim + 1]`. */
  readonly sums: tf.Tensor;
  /** The log of the sum of all estimates, `[items, window, 1]`, without a gradient; {@link lowest} for none. */
  readonly logMass: tf.Tensor;
  /** What brings `sums` to the scale exp(reference). */
  factor(reference: tf.Tensor): tf.Tensor;
}

function estimated(
  query: tf.Tensor,
  { sums, scales, count, parameters, tensors }: FarField,
  chosen: tf.Tensor | undefined,
  layout: BlockLayout,
  from: number,
): Estimate {
  const { window } = layout;
  const [groups, rows] = query.shape as [number, number];
  const items = (groups * rows) / window;
  const far = sumEstimated(
    sums,
    scales,
    detached(() => estimatedBlocks(groups, rows / window, chosen, layout, from)),
    count,
  );
  const { features, logWeight } = scaledQueryFeatures(query, parameters, tensors);
  const joined = tf.reshape(queriesThroughCore(features, tensors), [items, window, count]);
  const products = tf.matMul(joined, far.sums);
  const logScale = tf.add(tf.reshape(logWeight, [items, window, 1]), tf.reshape(far.scale, [items, 1, 1]));
  const { counts, logMass } = detached(() => {
    const mass = tf.slice(products, [0, 0, products.shape[2]! - 1], [-1, -1, 1]);
    const isLarge = tf.greater(mass, leastSum());
    const log = tf.add(logScale, tf.log(tf.maximum(mass, leastSum())));
    return { counts: isLarge, logMass: tf.where(isLarge, log, lowestOf(log.shape)) };
  });
  return {
    sums: products,
    logMass,
    factor: (reference) => expWhere(counts, tf.sub(logScale, reference)),
  };
}

/** `[groups, blocks, keyBlocks]`: 1 for each block of keys that is neither near nor chosen, and past if causal; else 0. */
function estimatedBlocks(
  groups: number,
  blocks: number,
  chosen: tf.Tensor | undefined,
  layout: BlockLayout,
  from: number,
): tf.Tensor {
  const { keyBlocks } = layout;
  const numbers = Array.from({ length: blocks * keyBlocks }, (_, i) =>
    isFar(layout, from + Math.floor(i / keyBlocks), i % keyBlocks) ? 1 : 0,
  );
  const far = tf.mul(tf.tensor(numbers, [1, blocks, keyBlocks]), tf.ones([groups, 1, 1]));
  if (!chosen) return far;
  const distance = tf.abs(tf.sub(tf.expandDims(chosen, 3), tf.reshape(tf.range(0, keyBlocks), [1, 1, 1, keyBlocks])));
  // not a cast of tf.equal, which webgpu of tfjs 4.22 cannot sum
  return tf.sub(far, tf.sum(tf.relu(tf.sub(1, distance)), 2));
}
