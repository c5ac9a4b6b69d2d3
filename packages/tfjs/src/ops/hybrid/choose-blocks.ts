import * as tf from "@tensorflow/tfjs-core";
import { detached } from "../detached.ts";
import { expWhere, lowest, lowestOf } from "../float-range.ts";
import type { BlockLayout } from "./exact-keys.ts";
import { isFar } from "./exact-keys.ts";

/** How many queries are averaged, as `averagedQueries()` of @favor/core. */
const groupSize = 16;

/** The most numbers in one comparison of means with keys. */
const mostScores = 1 << 20;

/** What blocks are chosen from, as constants. */
export interface Choosers {
  /** `[groups, queryBlocks * window, dim]`, padded with any numbers. */
  readonly q: tf.Tensor;
  /** `[groups, keyBlocks * window, dim]`. */
  readonly k: tf.Tensor;
  /** `[groups, keyBlocks * window]`; 0 for padding and for the first key. */
  readonly weights: tf.Tensor;
  /** `[groups, queryBlocks * window]`; 0 leaves a query out. */
  readonly queryWeights: tf.Tensor;
}

/**
 * The numbers of the blocks of keys that are chosen for each block of queries, `[groups, queryBlocks, chosenBlocks]`, as
 * floats, and -1 where there are not as many to choose: `averagedQueries` of @favor/core. Means of 16 queries are
 * compared with every key; a block's score is the sum over means of its share of the softmax over keys. In causal attention
 * the queries of the block before choose, among the keys up to them. No gradient goes through the choice.
 */
export function chooseBlocks(choosers: Choosers, layout: BlockLayout): tf.Tensor {
  const { queryBlocks, chosenBlocks } = layout;
  return detached(() =>
    tf.tidy(() => {
      const [groups, keys] = choosers.weights.shape as [number, number];
      const own = meansOfQueries(choosers, layout);
      // in causal attention, the queries of the block before choose
      const [means, counts] = layout.causal ? [delayed(own.means), delayed(own.counts)] : [own.means, own.counts];
      const perBlock = means.shape[2]!;
      const size = Math.max(1, Math.floor(mostScores / (groups * perBlock * keys)));
      const parts: tf.Tensor[] = [];
      for (let from = 0; from < queryBlocks; from += size) {
        const to = Math.min(queryBlocks, from + size);
        parts.push(
          tf.tidy(() => {
            const scores = blockScores(rowsOf(means, from, to), rowsOf(counts, from, to), choosers, layout, from);
            const { values, indices } = tf.topk(scores, chosenBlocks, true);
            return tf.where(tf.greater(values, lowest() / 2), tf.cast(indices, "float32"), tf.fill(values.shape, -1));
          }),
        );
      }
      return tf.concat(parts, 1);
    }),
  );
}

function rowsOf(x: tf.Tensor, from: number, to: number): tf.Tensor {
  const [groups, , ...rest] = x.shape as [number, number];
  return tf.slice(x, [0, from, ...rest.map(() => 0)], [groups, to - from, ...rest]);
}

/** What belongs to each block of queries, moved on by one block. */
function delayed(x: tf.Tensor): tf.Tensor {
  const [, blocks] = x.shape as [number, number];
  return tf.concat([tf.zerosLike(rowsOf(x, 0, 1)), rowsOf(x, 0, blocks - 1)], 1);
}

/** Of each block of queries the means of its groups, `[groups, queryBlocks, perBlock, dim]`, and how many queries each has. */
function meansOfQueries(
  { q, queryWeights }: Choosers,
  { window, queryBlocks }: BlockLayout,
): { readonly means: tf.Tensor; readonly counts: tf.Tensor } {
  const [groups, , dim] = q.shape as [number, number, number];
  const perBlock = Math.ceil(window / groupSize);
  const padding = perBlock * groupSize - window;
  // not a cast, which webgpu of tfjs 4.22 cannot sum
  const isShown = tf.where(tf.greater(queryWeights, 0), tf.onesLike(queryWeights), tf.zerosLike(queryWeights));
  const shown = tf.reshape(isShown, [groups * queryBlocks, window, 1]);
  const visible = tf.mul(tf.reshape(q, [groups * queryBlocks, window, dim]), shown);
  const sums = (x: tf.Tensor): tf.Tensor => {
    const width = x.shape[2]!;
    const zeros = tf.zeros([groups * queryBlocks, padding, width]);
    const whole = padding === 0 ? x : tf.concat([x, zeros], 1);
    const grouped = tf.reshape(whole, [groups * queryBlocks * perBlock, groupSize, width]);
    return tf.reshape(tf.sum(grouped, 1), [groups, queryBlocks, perBlock, width]);
  };
  const counts = sums(shown);
  return { means: tf.div(sums(visible), tf.maximum(counts, 1)), counts };
}

/** `[groups, blocks, keyBlocks]` for the blocks of queries from `from` on; {@link lowest} where none may be chosen. */
function blockScores(
  means: tf.Tensor,
  counts: tf.Tensor,
  { k, weights }: Choosers,
  layout: BlockLayout,
  from: number,
): tf.Tensor {
  const { window, keyBlocks, causal } = layout;
  const [groups, blocks, perBlock, dim] = means.shape as [number, number, number, number];
  const keys = keyBlocks * window;
  const own = Array.from({ length: blocks }, (_, i) => from + i);
  const logits = tf.reshape(tf.matMul(tf.reshape(means, [groups, blocks * perBlock, dim]), k, false, true), [
    groups,
    blocks,
    perBlock,
    keys,
  ]);
  const looksAt = (block: number, keyBlock: number): boolean => !causal || keyBlock < block;
  const seen = table(own, keyBlocks, looksAt, [1, blocks, 1, keyBlocks, 1]);
  const visibleKeys = tf.mul(seen, tf.reshape(weights, [groups, 1, 1, keyBlocks, window]));
  // no logicalAnd, which webgpu of tfjs 4.22 cannot compile
  const repeated = tf.mul(tf.reshape(visibleKeys, [groups, blocks, 1, keys]), tf.ones([1, 1, perBlock, 1]));
  const shown = tf.greater(repeated, 0);
  const masked = tf.where(shown, logits, lowestOf(logits.shape));
  const exponents = tf.sub(masked, tf.max(masked, 3, true));
  const masses = tf.mul(expWhere(shown, exponents), tf.reshape(weights, [groups, 1, 1, keys]));
  const total = tf.sum(masses, 3, true);
  // 0 if every key is hidden; else not small, for the largest key counts
  const shares = tf.div(masses, tf.where(tf.greater(total, 0), total, tf.onesLike(total)));
  const counted = tf.mul(shares, tf.cast(tf.greater(counts, 0), "float32"));
  const scores = tf.sum(tf.sum(tf.reshape(counted, [groups, blocks, perBlock, keyBlocks, window]), 4), 2);
  const visible = tf.sum(tf.reshape(weights, [groups, 1, keyBlocks, window]), 3);
  const far = table(own, keyBlocks, (block, keyBlock) => isFar(layout, block, keyBlock), [1, blocks, keyBlocks]);
  return tf.where(tf.greater(tf.mul(visible, far), 0), scores, lowestOf(scores.shape));
}

/** 1 where a block of queries and one of keys fulfil a condition, else 0. */
function table(
  queryBlocks: readonly number[],
  keyBlocks: number,
  isTrue: (queryBlock: number, keyBlock: number) => boolean,
  shape: number[],
): tf.Tensor {
  const numbers = queryBlocks.flatMap((block) =>
    Array.from({ length: keyBlocks }, (_, j) => (isTrue(block, j) ? 1 : 0)),
  );
  return tf.tensor(numbers, shape);
}
