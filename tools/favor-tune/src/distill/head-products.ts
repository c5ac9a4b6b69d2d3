import * as tf from "@tensorflow/tfjs";

import type { DifferingSite } from "./differing-sites.ts";

/** A MatMul node of a value and a matrix of each head. */
export interface HeadProduct {
  /** The value [batch, heads, rows, columns]. */
  readonly value: string;
  /** The initializer [heads, rows, columns]. */
  readonly matrix: string;
  /** Whether it is the matrix times the value, not the value times the matrix. */
  readonly isMatrixLeft: boolean;
  readonly output: string;
}

/** The products of feature matrices in a site, in the order of data flow. */
export function headProductsOf({ nodes, trainable }: DifferingSite): HeadProduct[] {
  const matrices = new Set(trainable.filter(({ dims }) => dims.length === 3).map(({ name }) => name));
  return nodes.flatMap(({ opType, domain, input, output }) => {
    const [left, right] = input as [string, string];
    if (opType !== "MatMul" || domain !== "" || matrices.has(left) === matrices.has(right)) return [];
    const isMatrixLeft = matrices.has(left);
    const [matrix, value] = isMatrixLeft ? [left, right] : [right, left];
    return [{ value, matrix, isMatrixLeft, output: output[0]! }];
  });
}

/**
 * The product, one for each head instead of one for each sequence and head: all rows of the batch times one matrix.
 * The gradient for the matrix is one product as well, instead of a sum over the batch. (onnxruntime does as much by
 * itself; tfjs repeats the matrix for each sequence first.)
 *
 * @param value - [batch, heads, ..., ...]
 * @param matrix - [heads, ..., ...]
 * @returns [batch, heads, ..., ...]
 */
export function multiplyByHead(value: tf.Tensor, matrix: tf.Tensor, isMatrixLeft: boolean): tf.Tensor {
  const [batch, heads, rows, columns] = value.shape as [number, number, number, number];
  const [, outer, width] = matrix.shape as [number, number, number];
  if (isMatrixLeft) {
    const side = tf.reshape(tf.transpose(value, [1, 2, 0, 3]), [heads, rows, batch * columns]);
    return tf.transpose(tf.reshape(tf.matMul(matrix, side), [heads, outer, batch, columns]), [2, 0, 1, 3]);
  }
  const stacked = tf.reshape(tf.transpose(value, [1, 0, 2, 3]), [heads, batch * rows, columns]);
  return tf.transpose(tf.reshape(tf.matMul(stacked, matrix), [heads, batch, rows, width]), [1, 0, 2, 3]);
}
