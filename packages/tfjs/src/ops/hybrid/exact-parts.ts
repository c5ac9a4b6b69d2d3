import * as tf from "@tensorflow/tfjs-core";
import { detached } from "../detached.ts";
import { nearOffsets } from "./exact-keys.ts";
import type { BlockLayout } from "./exact-keys.ts";
import { pickBlocks } from "./pick-blocks.ts";

/** The keys that blocks of queries attend to exactly. */
export interface ExactPart {
  /** `[groups * blocks, window, keys]`. */
  readonly logits: tf.Tensor;
  /** Where a query sees a key, of the same shape. */
  readonly shown: tf.Tensor;
  /** [V 1] times the weights of the keys, `[groups * blocks, keys, valueDim + 1]`. */
  readonly values: tf.Tensor;
}

/** All keys and values by blocks. */
export interface KeyBlocks {
  /** `[groups * keyBlocks, window * dim]`. */
  readonly keys: tf.Tensor;
  /** [V 1] times the weight of each key, `[groups * keyBlocks, window * (valueDim + 1)]`; 0 for the first key. */
  readonly values: tf.Tensor;
}

/**
 * The near and the chosen blocks of the blocks of queries from `from` on.
 *
 * @param query `[groups * blocks, window, dim]`.
 * @param chosen `[groups, blocks, chosenBlocks]`; -1 for none.
 */
export function nearAndChosen(
  query: tf.Tensor,
  { keys, values }: KeyBlocks,
  chosen: tf.Tensor | undefined,
  layout: BlockLayout,
  from: number,
): ExactPart | undefined {
  const { window, keyBlocks } = layout;
  const [items, , dim] = query.shape as [number, number, number];
  const groups = keys.shape[0]! / keyBlocks;
  const blocks = items / groups;
  const offsets = nearOffsets(layout);
  const slots = offsets.length + (chosen?.shape[2] ?? 0);
  if (slots === 0) return undefined;
  const { picks, shown } = detached(() => {
    const numbers = Array.from({ length: groups * blocks }, (_, i) =>
      offsets.map((offset) => from + (i % blocks) + offset),
    );
    const near = tf.tensor(numbers.flat(), [groups, blocks, offsets.length]);
    const all = chosen ? tf.concat([near, chosen], 2) : near;
    const inside = tf.clipByValue(all, 0, keyBlocks - 1);
    const exists = tf.equal(all, inside);
    const starts = tf.mul(tf.range(0, groups), keyBlocks);
    const rows = tf.add(inside, tf.reshape(starts, [groups, 1, 1]));
    return { picks: tf.reshape(rows, [-1]), shown: tf.reshape(exists, [items, 1, slots, 1]) };
  });
  const pickedValues = tf.reshape(pickBlocks(values, picks), [items, slots * window, values.shape[1]! / window]);
  const pickedKeys = tf.reshape(pickBlocks(keys, picks), [items, slots * window, dim]);
  const width = pickedValues.shape[2]!;
  return {
    logits: tf.matMul(query, pickedKeys, false, true),
    values: pickedValues,
    shown: detached(() => {
      const weights = tf.reshape(tf.slice(pickedValues, [0, 0, width - 1], [-1, -1, 1]), [items, 1, slots, window]);
      const visible = tf.mul(tf.cast(shown, "float32"), weights);
      return tf.reshape(tf.greater(tf.mul(visible, triangle(layout, slots)), 0), [items, window, slots * window]);
    }),
  };
}

/** `[1, window, slots, window]`: 1, but for keys after a query in its own block if attention is causal. */
function triangle({ causal, window }: BlockLayout, slots: number): tf.Tensor {
  if (!causal) return tf.ones([1, window, slots, window]);
  const own = nearOffsets({ near: true, causal } as BlockLayout).indexOf(0);
  const numbers = new Float32Array(window * slots * window).fill(1);
  for (let row = 0; row < window; row++) {
    const start = (row * slots + own) * window;
    numbers.fill(0, start + row + 1, start + window);
  }
  return tf.tensor(numbers, [1, window, slots, window]);
}

/** The first key that the mask shows, which is in no block. */
export interface FirstKey {
  /** `[groups, 1, dim]`. */
  readonly key: tf.Tensor;
  /** [V 1] times its weight, `[groups, 1, valueDim + 1]`; 0 if no key is shown. */
  readonly value: tf.Tensor;
  /** `[groups, 1]`. */
  readonly position: tf.Tensor;
}

/** The first key as all queries of the blocks from `from` on see it; in causal attention only those from its position on. */
export function firstPart(query: tf.Tensor, first: FirstKey, layout: BlockLayout, from: number): ExactPart {
  const { window, causal } = layout;
  const [items, , dim] = query.shape as [number, number, number];
  const groups = first.key.shape[0]!;
  const blocks = items / groups;
  const width = first.value.shape[2]!;
  // as a row per block: the gradient of a broadcast product is a sum
  const byBlock = (x: tf.Tensor): tf.Tensor =>
    tf.reshape(tf.mul(tf.expandDims(x, 1), tf.ones([1, blocks, 1, 1])), [items, 1, x.shape[2]!]);
  const key = byBlock(first.key);
  return {
    logits: tf.sum(tf.mul(query, tf.reshape(key, [items, 1, dim])), 2, true),
    values: byBlock(first.value),
    shown: detached(() => {
      const weight = tf.slice(first.value, [0, 0, width - 1], [-1, -1, 1]);
      const rows = tf.reshape(tf.range(from * window, (from + blocks) * window), [1, blocks, window]);
      const position = tf.reshape(first.position, [groups, 1, 1]);
      const seen = causal ? tf.cast(tf.greaterEqual(rows, position), "float32") : tf.onesLike(rows);
      return tf.reshape(tf.greater(tf.mul(seen, weight), 0), [items, window, 1]);
    }),
  };
}
