import * as tf from "@tensorflow/tfjs-core";
import { causalCall } from "./causal-inputs.ts";

/**
 * Causal linear attention by standard operations, in chunks of C near sqrt(length) rows: C x C products under a
 * triangular mask within a chunk, and a sum over whole chunks before it. O(length (C + features)) memory. Joining the
 * sums of the chunks costs another (length / C)^2 features width multiplications, about as many as one product with the
 * features.
 */
export const causalByChunks: tf.KernelFunc = ({ inputs, attrs }) => {
  const { reverse } = causalCall(inputs, attrs);
  const { q, k, v, reference } = inputs as Record<"q" | "k" | "v" | "reference", tf.Tensor>;
  if (!reverse) return tf.tidy(() => forward(q, k, v, reference));
  // |r_i - r_j| stays the same, and -r never falls in the new order
  return tf.tidy(() => flip(forward(flip(q), flip(k), flip(v), tf.neg(flip(reference)))));
};

function flip(x: tf.Tensor): tf.Tensor {
  return tf.reverse(x, 1);
}

function forward(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, reference: tf.Tensor): tf.Tensor {
  const [groups, length, features] = q.shape as [number, number, number];
  const width = v.shape[2]!;
  const size = chunkSize(length);
  const chunks = Math.ceil(length / size);
  const batch = groups * chunks;
  const byChunk = (x: tf.Tensor): tf.Tensor => tf.reshape(padded(x, chunks * size), [batch, size, x.shape[2]!]);
  const [query, key, value] = [byChunk(q), byChunk(k), byChunk(v)] as const;
  const row = tf.reshape(padded(tf.expandDims(reference, 2), chunks * size), [batch, size]);

  const triangle = lowerTriangle(size, 0);
  const pairs = decay(tf.sub(tf.expandDims(row, 1), tf.expandDims(row, 2)), triangle);
  const within = tf.matMul(tf.mul(tf.matMul(query, key, false, true), pairs), value);

  const end = tf.slice(row, [0, size - 1], [batch, 1]);
  const toEnd = tf.expandDims(tf.exp(tf.sub(row, end)), 2);
  const sums = tf.reshape(tf.matMul(key, tf.mul(value, toEnd), true, false), [groups, chunks, features * width]);
  const ends = tf.reshape(end, [groups, chunks]);
  const starts = tf.concat([tf.slice(reference, [0, 0], [groups, 1]), tf.slice(ends, [0, 0], [groups, chunks - 1])], 1);
  const earlier = decay(tf.sub(tf.expandDims(ends, 1), tf.expandDims(starts, 2)), lowerTriangle(chunks, -1));
  const before = tf.reshape(tf.matMul(earlier, sums), [batch, features, width]);
  const fromStart = tf.expandDims(tf.exp(tf.sub(tf.reshape(starts, [batch, 1]), row)), 2);
  const past = tf.mul(tf.matMul(query, before), fromStart);
  return tf.slice(tf.reshape(tf.add(within, past), [groups, chunks * size, width]), [0, 0, 0], [groups, length, width]);
}

/** A power of two near 2 sqrt(length), from 16 to 256: fewer but larger products for longer sequences. */
function chunkSize(length: number): number {
  return 2 ** Math.min(8, Math.max(4, 1 + Math.round(Math.log2(length) / 2)));
}

/** x `[groups, length, width]` with its last row repeated up to `rows`. */
function padded(x: tf.Tensor, rows: number): tf.Tensor {
  const [groups, length, width] = x.shape as [number, number, number];
  if (length === rows) return x;
  const last = tf.slice(x, [0, length - 1, 0], [groups, 1, width]);
  return tf.concat([x, tf.mul(last, tf.ones([1, rows - length, 1]))], 1);
}

/** exp(difference), for differences of at most 0, where `seen` is 1; 0 elsewhere. */
function decay(difference: tf.Tensor, seen: tf.Tensor): tf.Tensor {
  return tf.mul(tf.exp(tf.minimum(difference, 0)), seen);
}

/** 1 where column <= row + offset, else 0: `[size, size]`. */
export function lowerTriangle(size: number, offset: number): tf.Tensor2D {
  const values = new Float32Array(size * size);
  for (let row = 0; row < size; row++) values.fill(1, row * size, row * size + Math.max(0, row + offset + 1));
  return tf.tensor2d(values, [size, size]);
}
