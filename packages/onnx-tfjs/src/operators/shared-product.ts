import * as tf from "@tensorflow/tfjs-core";
import { definedProduct } from "./defined-product.ts";

/** Neighbouring axes of a batch as one: those that an operand has, or those along which its matrices are shared. */
interface Run {
  readonly size: number;
  readonly shared: boolean;
}

/** The batch axes longer than 1, as an operand with the batch axes `own` broadcasts to them. */
export function runsOf(batch: readonly number[], own: readonly number[]): readonly Run[] {
  const runs: Run[] = [];
  for (const [i, size] of batch.entries()) {
    if (size === 1) continue;
    const shared = (own[i - batch.length + own.length] ?? 1) === 1;
    const before = runs.at(-1)?.shared === shared ? runs.pop()!.size : 1;
    runs.push({ size: size * before, shared });
  }
  return runs;
}

/** An operand, its last two axes exchanged if `transposed`. */
interface Operand {
  readonly x: tf.Tensor;
  readonly transposed: boolean;
}

/**
 * A product with matrices that are shared along axes of the batch (a weight for all sequences, or one per head): one for
 * each matrix, with the rows (columns, if it is on the left) of all that share it at once. Its gradient is one product
 * as well; broadcasting first makes a product for each item of the batch, and of each a gradient to be summed.
 *
 * @param values - `[...batch, rows, inner]`; `[...batch, inner, columns]` if the matrices are on the left
 * @param matrices - `[...own, inner, columns]`; `[...own, rows, inner]` on the left
 * @param runs - {@link runsOf} the matrices
 * @returns as many numbers as `[...batch, rows, columns]`, in that order
 */
export function sharedProduct(
  values: Operand,
  matrices: Operand & { readonly left: boolean },
  runs: readonly Run[],
): tf.Tensor {
  const { left } = matrices;
  const sizes = runs.map(({ size }) => size);
  const axes = [...runs.keys()];
  const own = axes.filter((axis) => !runs[axis]!.shared);
  const shared = axes.filter((axis) => runs[axis]!.shared);
  const [row, column] = [axes.length, axes.length + 1];
  // of the values' two axes the one that the result keeps, and the one that is summed over
  const [kept, inner] = left === values.transposed ? [row, column] : [column, row];
  const dims = [...sizes, ...values.x.shape.slice(-2)];
  const length = (of: readonly number[]): number => tf.util.sizeFromShape(of.map((axis) => dims[axis]!));
  const stack = left ? [...own, inner, ...shared, kept] : [...own, ...shared, kept, inner];
  const together = length([...shared, kept]);
  const stacked = tf.reshape(
    permuted(tf.reshape(values.x, dims), stack),
    left ? [length(own), dims[inner]!, together] : [length(own), together, dims[inner]!],
  );
  const matrix = tf.reshape(matrices.x, [length(own), ...matrices.x.shape.slice(-2)]);
  const product = left
    ? definedProduct(matrix, stacked, matrices.transposed, false)
    : definedProduct(stacked, matrix, false, matrices.transposed);
  const order = left ? [...own, row, ...shared, column] : [...own, ...shared, row, column];
  const made = [...sizes, ...(left ? [product.shape[1]!, dims[kept]!] : [dims[kept]!, product.shape[2]!])];
  const laidOut = tf.reshape(
    product,
    order.map((axis) => made[axis]!),
  );
  return permuted(
    laidOut,
    made.map((_, axis) => order.indexOf(axis)),
  );
}

function permuted(x: tf.Tensor, order: readonly number[]): tf.Tensor {
  if (order.every((axis, i) => axis === i)) return x;
  // wasm divides by the size of an empty tensor when it transposes
  return x.size === 0
    ? tf.reshape(
        x,
        order.map((axis) => x.shape[axis]!),
      )
    : tf.transpose(x, [...order]);
}
