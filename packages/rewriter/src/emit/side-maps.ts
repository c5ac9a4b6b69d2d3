import type { ExponentialForm } from "@favor/core";
import type { NodeBuilder } from "@favor/onnx/graph";
import { stack } from "./trigonometric.ts";

/** Features' exponents as a product and a bias: one row of the matrix, and one number, for each feature. */
export interface ExponentMap {
  /** [count, dim] row-major */
  readonly matrix: Float64Array;
  /** [count] */
  readonly bias: Float64Array;
}

/** P A (scale x - mean) of queries or keys. */
export function exponentMap(form: ExponentialForm, side: "query" | "key", scale: number): ExponentMap {
  const { count, dim } = form;
  const [projection, linear, mean] = [form[`${side}Projection`], form[`${side}Matrix`], form[`${side}Mean`]];
  if (isPlain(mean, linear)) return { matrix: times(projection, scale), bias: new Float64Array(count) };
  const matrix = new Float64Array(count * dim);
  const bias = new Float64Array(count);
  for (let m = 0; m < count; m++) {
    for (let j = 0; j < dim; j++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += projection[m * dim + i]! * linear[i * dim + j]!;
      matrix[m * dim + j] = sum * scale;
      bias[m]! -= sum * mean[j]!;
    }
  }
  return { matrix, bias };
}

interface AffineVectors {
  /** [batch, heads or 1, dim, length] */
  readonly value: string;
  /** x' is this times the value. */
  readonly scale: number;
}

/** x' = A (scale x - mean) of queries or keys, given as columns. */
export function affine(
  build: NodeBuilder,
  forms: readonly ExponentialForm[],
  columns: string,
  scale: number,
  side: "query" | "key",
): AffineVectors {
  const sides = forms.map((form) => ({ mean: form[`${side}Mean`], matrix: form[`${side}Matrix`] }));
  if (sides.every(({ mean, matrix }) => isPlain(mean, matrix))) return { value: columns, scale };
  const { dim } = forms[0]!;
  const heads = forms.length;
  const scaled = stack(sides.map(({ matrix }) => matrix.map((a) => a * scale)));
  const shift = stack(
    sides.map(({ matrix, mean }) =>
      Float64Array.from({ length: dim }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < dim; j++) sum -= matrix[i * dim + j]! * mean[j]!;
        return sum;
      }),
    ),
  );
  const rotated = build.op("MatMul", [build.floats(`balance_${side}`, [heads, dim, dim], scaled), columns]);
  const value = build.op("Add", [rotated, build.floats(`shift_${side}`, [heads, dim, 1], shift)]);
  return { value, scale: 1 };
}

/** Every value times a factor. A loop, because `map` is several times slower on the millions of numbers of a large model. */
export function times(values: Float64Array, factor: number): Float64Array {
  const products = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) products[i] = values[i]! * factor;
  return products;
}

/** Whether a side is neither centred nor multiplied by a matrix: x' = x. */
export function isPlain(mean: Float64Array, matrix: Float64Array): boolean {
  if (mean.some((m) => m !== 0)) return false;
  // The diagonal of the matrix is every (dim + 1)-th entry.
  const step = mean.length + 1;
  for (let i = 0, diagonal = 0; i < matrix.length; i++) {
    if (matrix[i] !== (i === diagonal ? 1 : 0)) return false;
    if (i === diagonal) diagonal += step;
  }
  return true;
}

/**
 * Whether w.(k - mean) follows from k' = A_k (k - mean) alone. It is (A_k^-T w).k', and A_k^-T = A_q if the maps are
 * balanced, so that q'.k' = q.k. Learned forms need not be balanced.
 */
export function isBalanced({ dim, queryMatrix, keyMatrix }: ExponentialForm): boolean {
  for (let row = 0; row < dim; row++) {
    for (let column = 0; column < dim; column++) {
      let product = 0;
      for (let i = 0; i < dim; i++) product += queryMatrix[row * dim + i]! * keyMatrix[column * dim + i]!;
      if (!(Math.abs(product - (row === column ? 1 : 0)) < 1e-6)) return false;
    }
  }
  return true;
}

/** w of w.(k - mean) for the folded operand k', where {@link isBalanced}. */
export function foldedKeyWeight({ dim, keyWeight, queryMatrix }: ExponentialForm): Float64Array {
  const vector = new Float64Array(dim);
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j < dim; j++) vector[i]! += queryMatrix[i * dim + j]! * keyWeight[j]!;
  }
  return vector;
}
