import type { PoolingMode } from "@favor/checkpoints/node";
import * as tf from "@tensorflow/tfjs";

/** Below every number of a hidden state. */
const least = -1e9;

/**
 * Makes one vector of each sequence's token vectors, as `PoolingMode` defines it; differentiable. The caller tidies.
 *
 * @param vectors - [batch, length, width]
 * @param lengths - tokens of each sequence; the rest is padding. At least 1.
 * @returns [batch, modes.length * width]: several ways are laid end to end.
 */
export function pooledEmbeddings(
  vectors: tf.Tensor3D,
  lengths: readonly number[],
  modes: readonly PoolingMode[],
): tf.Tensor2D {
  return tf.concat2d(
    modes.map((mode) => pooledBy(mode, vectors, lengths)),
    1,
  );
}

function pooledBy(mode: PoolingMode, vectors: tf.Tensor3D, lengths: readonly number[]): tf.Tensor2D {
  const [, length] = vectors.shape;
  if (mode === "max") {
    const hidden = columnOf(lengths, length, (_, isToken) => (isToken ? 0 : least));
    return tf.max(tf.add(vectors, hidden), 1);
  }
  const weights = columnOf(lengths, length, (at, isToken, tokens) => (isToken ? weightOf(mode, at, tokens) : 0));
  return tf.sum(tf.mul(vectors, weights), 1);
}

/** The weight of a token in the sum, by its position. */
function weightOf(mode: Exclude<PoolingMode, "max">, at: number, tokens: number): number {
  switch (mode) {
    case "cls":
      return at === 0 ? 1 : 0;
    case "last":
      return at === tokens - 1 ? 1 : 0;
    case "mean":
      return 1 / tokens;
    case "mean-sqrt-length":
      return 1 / Math.sqrt(tokens);
    case "weighted-mean":
      return (2 * (at + 1)) / (tokens * (tokens + 1));
  }
}

/** [batch, length, 1] */
function columnOf(
  lengths: readonly number[],
  length: number,
  valueOf: (at: number, isToken: boolean, tokens: number) => number,
): tf.Tensor3D {
  const values = lengths.flatMap((tokens) => Array.from({ length }, (_, at) => valueOf(at, at < tokens, tokens)));
  return tf.tensor3d(Float32Array.from(values), [lengths.length, length, 1]);
}
