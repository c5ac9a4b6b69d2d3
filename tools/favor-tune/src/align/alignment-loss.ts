import type { PoolingMode } from "@favor/checkpoints/node";
import * as tf from "@tensorflow/tfjs";

import type { AlignmentSpan } from "./alignment-span.ts";
import type { AlignedValue, AlignedValues } from "./alignment-teacher.ts";
import { pooledEmbeddings } from "./pooling.ts";
import { vectorDistance } from "./vector-distance.ts";

/** The vectors that are pooled into embeddings, and how. */
export interface PooledOutput {
  readonly output: string;
  readonly modes: readonly PoolingMode[];
}

/** The lengths of a batch: the tokens of each sequence, and what they are padded to. */
export interface BatchLengths {
  readonly tokens: readonly number[];
  readonly padded: number;
}

/**
 * The loss of a span: the mean {@link vectorDistance} of its hidden states, plus that of its outputs, plus that of the
 * embeddings, if one of the outputs is pooled. The caller tidies.
 *
 * @param found - the converted model's values, by name.
 * @param originals - the original's.
 */
export function alignmentLoss(
  { states, outputs }: AlignmentSpan,
  found: Readonly<Record<string, tf.Tensor>>,
  originals: AlignedValues,
  lengths: BatchLengths,
  pooling: PooledOutput | undefined,
): tf.Scalar {
  const distanceOf = ({ name, per }: AlignedValue): tf.Scalar => {
    const weights = per === "token" ? tokenWeights(lengths) : tf.ones<tf.Rank.R2>([lengths.tokens.length, 1]);
    const rows = (value: tf.Tensor): tf.Tensor2D => tf.reshape(value, [weights.shape[0], -1]);
    return vectorDistance(rows(found[name]!), rows(original(name, originals)), weights);
  };
  const mean = (values: readonly AlignedValue[]): tf.Tensor[] =>
    values.map((value) => tf.div(distanceOf(value), values.length));
  const parts = [...mean(states), ...mean(outputs)];
  if (pooling !== undefined && outputs.some(({ name }) => name === pooling.output)) {
    const embed = (vectors: tf.Tensor): tf.Tensor2D =>
      pooledEmbeddings(tf.reshape(vectors, [lengths.tokens.length, lengths.padded, -1]), lengths.tokens, pooling.modes);
    const { output } = pooling;
    const ones = tf.ones<tf.Rank.R2>([lengths.tokens.length, 1]);
    parts.push(vectorDistance(embed(found[output]!), embed(original(output, originals)), ones));
  }
  return tf.addN(parts) as tf.Scalar;
}

function original(name: string, originals: AlignedValues): tf.Tensor {
  const { dims, data } = originals.get(name)!;
  return tf.tensor(data, [...dims]);
}

/** [batch * length, 1]: 1 at tokens, 0 at padding. */
function tokenWeights({ tokens, padded }: BatchLengths): tf.Tensor2D {
  const weights = new Float32Array(tokens.length * padded);
  for (const [row, count] of tokens.entries()) weights.fill(1, row * padded, row * padded + count);
  return tf.tensor2d(weights, [weights.length, 1]);
}
