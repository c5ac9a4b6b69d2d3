import * as tf from "@tensorflow/tfjs";
import { constantOf, lowest, normalized } from "./bidirectional.ts";
import type { GroupedInputs } from "./bidirectional.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { keyFeatures, queriesThroughCore, queryFeatures } from "./features.ts";
import { constant, recomputed } from "./recompute.ts";

/**
 * Causal FAVOR (2009.14794, section 2.5.1) in chunks of C keys: within a chunk C x C products under a triangular mask,
 * before it a sum over whole chunks. Row i is relative to the largest log weight of keys 0 to i, never of a later one.
 * Result `[groups, length, valueDim]`.
 *
 * O(length (C + M) (dim + valueDim)) time and O(length (C + M)) memory with C near sqrt(length); joining the sums of the
 * chunks costs (length / C)^2 M valueDim more, about as much as one product with phi.
 */
export function causalFavor({ q, k, v, weights }: GroupedInputs, parameters: FeatureParameters): tf.Tensor {
  const names = Object.keys(parameters.tensors);
  const [groups, length] = q.shape as [number, number, number];
  const valueDim = v.shape[2]!;
  const size = chunkSize(length);
  const chunks = Math.ceil(length / size);
  const padding = chunks * size - length;
  const padRows = (x: tf.Tensor): tf.Tensor =>
    padding === 0
      ? x
      : tf.pad(x, [
          [0, 0],
          [0, padding],
          [0, 0],
        ]);

  return recomputed((query, key, value, shown, ...rest) => {
    const t = Object.fromEntries(names.map((name, i) => [name, rest[i]!]));
    const keys = keyFeatures(padRows(key!), parameters, t);
    const phiQuery = queriesThroughCore(queryFeatures(padRows(query!), parameters, t), t);
    const count = keys.features.shape[2]!;
    const batch = groups * chunks;
    const phiQ = tf.reshape(phiQuery, [batch, size, count]);
    const phiK = tf.reshape(keys.features, [batch, size, count]);
    const ones = tf.ones([groups, chunks * size, 1]);
    const values = tf.reshape(tf.concat([padRows(value!), ones], 2), [batch, size, valueDim + 1]);
    const mask = tf.reshape(
      tf.pad(shown!, [
        [0, 0],
        [0, padding],
      ]),
      [batch, size],
    );
    const logWeight = tf.reshape(keys.logWeight, [batch, size]);
    const reference = constant(() => runningReference(logWeight, mask, groups));

    const within = tf.mul(tf.matMul(phiQ, phiK, false, true), pairWeights(logWeight, reference.row, mask));
    const chunkWeights = weightsTo(reference.chunk, logWeight, mask);
    const sums = tf.matMul(phiK, tf.mul(values, tf.expandDims(chunkWeights, 2)), true, false);
    const before = tf.matMul(reference.earlier, tf.reshape(sums, [groups, chunks, count * (valueDim + 1)]));
    const past = tf.matMul(phiQ, tf.reshape(before, [batch, count, valueDim + 1]));
    const joined = tf.add(tf.matMul(within, values), tf.mul(past, tf.expandDims(reference.rescale, 2)));
    const out = normalized(tf.reshape(joined, [groups, chunks * size, valueDim + 1]));
    return tf.slice(out, [0, 0, 0], [groups, length, valueDim]);
  })(q, k, v, weights, ...Object.values(parameters.tensors));
}

/** A power of two near 2 sqrt(length), from 16 to 256: fewer, larger products for longer sequences. */
function chunkSize(length: number): number {
  return 2 ** Math.min(8, Math.max(4, 1 + Math.round(Math.log2(length) / 2)));
}

/** The largest log weights so far, and the factors that lead from one to the next; hidden keys do not count. */
interface RunningReference {
  /** Of the keys up to each row, `[batch, size]`. */
  readonly row: tf.Tensor;
  /** Of each chunk alone, `[batch, 1]`. */
  readonly chunk: tf.Tensor;
  /** From an earlier chunk's reference to that of all chunks before this one, `[groups, chunks, chunks]`; else 0. */
  readonly earlier: tf.Tensor;
  /** From the reference of all chunks before to each row's, `[batch, size]`. */
  readonly rescale: tf.Tensor;
  readonly [name: string]: tf.Tensor;
}

function runningReference(logWeight: tf.Tensor, mask: tf.Tensor, groups: number): RunningReference {
  const [batch, size] = logWeight.shape as [number, number];
  const chunks = batch / groups;
  const counting = tf.where(tf.greater(mask, 0), logWeight, constantOf([batch, size], lowest));
  const chunk = tf.max(counting, 1, true);
  const perChunk = tf.reshape(chunk, [groups, 1, chunks]);
  const isEarlier = lowerTriangle(chunks, -1);
  const before = tf.max(onlyWhere(isEarlier, tf.mul(perChunk, tf.ones([1, chunks, 1]))), 2, true);
  const earlier = tf.mul(tf.exp(tf.mul(tf.sub(perChunk, before), isEarlier)), isEarlier);

  const pairs = tf.mul(tf.expandDims(counting, 1), tf.ones([1, size, 1]));
  const inChunk = tf.max(onlyWhere(lowerTriangle(size, 0), pairs), 2);
  const start = tf.reshape(before, [batch, 1]);
  const row = tf.maximum(inChunk, start);
  return { row, chunk, earlier, rescale: tf.exp(tf.sub(start, row)) };
}

/** exp(log weight of key j - reference of row i) times the mask, 0 for j > i: `[batch, size, size]`. */
function pairWeights(logWeight: tf.Tensor, row: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  const weights = tf.expandDims(mask, 1);
  const triangle = lowerTriangle(logWeight.shape[1]!, 0);
  const seen = constant(() => tf.mul(tf.cast(tf.greater(weights, 0), "float32"), triangle));
  const exponents = tf.sub(tf.expandDims(logWeight, 1), tf.expandDims(row, 2));
  return tf.mul(tf.exp(onlyWhere(seen, exponents)), weights);
}

/** x where `seen` is 1, {@link lowest} where it is 0. By products, which broadcast; `where` and `tile` are slow on wasm. */
function onlyWhere(seen: tf.Tensor, x: tf.Tensor): tf.Tensor {
  const hidden = constant(() => tf.mul(tf.sub(1, seen), lowest));
  return tf.add(tf.mul(x, seen), hidden);
}

/** exp(logWeight - reference) times the mask, `[batch, size]`. */
function weightsTo(reference: tf.Tensor, logWeight: tf.Tensor, mask: tf.Tensor): tf.Tensor {
  const shown = constant(() => tf.greater(mask, 0));
  const exponents = tf.where(shown, tf.sub(logWeight, reference), constantOf(logWeight.shape, lowest));
  return tf.mul(tf.exp(exponents), mask);
}

/** 1 where column <= row + offset, else 0: `[size, size]`. */
export function lowerTriangle(size: number, offset: number): tf.Tensor2D {
  const values = new Float32Array(size * size);
  for (let row = 0; row < size; row++) values.fill(1, row * size, row * size + Math.max(0, row + offset + 1));
  return tf.tensor2d(values, [size, size]);
}
