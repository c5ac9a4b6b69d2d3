import { describe, expect, it } from "vitest";
import { RandomStream } from "../../src/index.ts";
import { orthogonalFactor } from "../../src/linear-algebra/householder.ts";
import { symmetricEigen, symmetricFunction } from "../../src/linear-algebra/symmetric-eigen.ts";
import { largestDifference } from "../features/differences.ts";
import { addTransposedProduct, multiply, multiplyTransposed, transpose } from "../../src/linear-algebra/products.ts";

const stream = new RandomStream({ seed: 4, purpose: 6 });

describe("products", () => {
  it.each([
    [1, 1, 1],
    [3, 5, 7],
    [6, 4, 9],
    [0, 3, 2],
  ])("agree with the definition for %i x %i x %i", (rows, inner, columns) => {
    const a = stream.gaussians(rows * inner);
    const b = stream.gaussians(inner * columns);
    const expected = new Float64Array(rows * columns);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        for (let l = 0; l < inner; l++) expected[i * columns + j]! += a[i * inner + l]! * b[l * columns + j]!;
      }
    }
    expect(largestDifference(multiply(a, b, rows, inner, columns), expected)).toBeLessThan(1e-13);
    expect(
      largestDifference(multiplyTransposed(a, transpose(b, inner, columns), rows, inner, columns), expected),
    ).toBeLessThan(1e-13);
    const sum = new Float64Array(rows * columns);
    addTransposedProduct(transpose(a, rows, inner), b, inner, rows, columns, sum);
    expect(largestDifference(sum, expected)).toBeLessThan(1e-13);
  });
});

/** Q by the definition: each reflection applied to each column by itself, in the order of the algorithm. */
function columnByColumn(matrix: readonly number[][]): number[][] {
  const n = matrix.length;
  const columns = matrix.map((_, j) => matrix.map((row) => row[j]!));
  const reflections: { vector: number[]; scale: number; from: number }[] = [];
  const signs: number[] = [];
  const reflect = ({ vector, scale, from }: (typeof reflections)[number], column: number[]): void => {
    let sum = 0;
    for (let i = from; i < n; i++) sum += vector[i]! * column[i]!;
    sum *= scale;
    for (let i = from; i < n; i++) column[i]! -= sum * vector[i]!;
  };
  columns.forEach((column, from) => {
    for (const reflection of reflections) reflect(reflection, column);
    const squares = column.slice(from).reduce((sum, value) => sum + value * value, 0);
    const norm = column[from]! < 0 ? Math.sqrt(squares) : -Math.sqrt(squares);
    signs.push(norm < 0 ? -1 : 1);
    const vector = column.with(from, column[from]! - norm);
    reflections.push({ vector, scale: 1 / (norm * (norm - column[from]!)), from });
  });
  const q = columns.map((_, j) => {
    const column = columns.map((__, i) => (i === j ? signs[j]! : 0));
    for (const reflection of reflections.slice(0, j + 1).toReversed()) reflect(reflection, column);
    return column;
  });
  return q.map((_, i) => q.map((column) => column[i]!));
}

describe("orthogonalFactor", () => {
  it.each([1, 2, 17, 64])(
    "of a square Gaussian matrix of %i rows: Q^T A is upper triangular with a positive diagonal",
    (n) => {
      const matrix = stream.gaussians(n * n);
      const q = orthogonalFactor(matrix, n);
      const gram = multiplyTransposed(q, q, n, n, n);
      for (let i = 0; i < n * n; i++) expect(Math.abs(gram[i]! - (i % (n + 1) === 0 ? 1 : 0))).toBeLessThan(1e-13);
      const r = multiply(transpose(q, n, n), matrix, n, n, n);
      for (let i = 0; i < n; i++) {
        expect(r[i * n + i]!).toBeGreaterThan(0);
        for (let j = 0; j < i; j++) expect(Math.abs(r[i * n + j]!)).toBeLessThan(1e-12);
      }
    },
  );

  it.each([1, 3, 4, 5, 30, 64])("of %i rows is the same to the bit as reflections of one column at a time", (n) => {
    const matrix = stream.gaussians(n * n);
    const rows = (of: Float64Array): number[][] =>
      Array.from({ length: n }, (_, i) => [...of.subarray(i * n, (i + 1) * n)]);
    expect(rows(orthogonalFactor(matrix, n))).toEqual(columnByColumn(rows(matrix)));
  });

  it("is uniform over the orthogonal group: its trace has mean 0 and variance 1", () => {
    const trials = 4000;
    const traces = Array.from({ length: trials }, () => {
      const q = orthogonalFactor(stream.gaussians(9), 3);
      return q[0]! + q[4]! + q[8]!;
    });
    const mean = traces.reduce((sum, value) => sum + value, 0) / trials;
    const square = traces.reduce((sum, value) => sum + value * value, 0) / trials;
    expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(trials));
    expect(Math.abs(square - 1)).toBeLessThan(5 * Math.sqrt(2 / trials));
  });

  it("completes a matrix with zero columns", () => {
    const q = orthogonalFactor(new Float64Array(9), 3);
    expect(largestDifference(multiplyTransposed(q, q, 3, 3, 3), [1, 0, 0, 0, 1, 0, 0, 0, 1])).toBe(0);
    expect(() => orthogonalFactor(new Float64Array(8), 3)).toThrow("matrix: expected 9 values");
  });
});

describe("symmetricEigen", () => {
  it.each([1, 2, 5, 64, 130])("of a Gram matrix of %i rows restores it from descending eigenvalues", (n) => {
    const factor = stream.gaussians(n * n);
    const matrix = multiplyTransposed(factor, factor, n, n, n);
    const eigen = symmetricEigen(matrix, n);
    for (let i = 1; i < n; i++) expect(eigen.values[i]!).toBeLessThanOrEqual(eigen.values[i - 1]!);
    const gram = multiplyTransposed(eigen.vectors, eigen.vectors, n, n, n);
    for (let i = 0; i < n * n; i++) expect(Math.abs(gram[i]! - (i % (n + 1) === 0 ? 1 : 0))).toBeLessThan(1e-12);
    const restored = symmetricFunction(eigen, (value) => value);
    expect(largestDifference(restored, matrix)).toBeLessThan(1e-12 * eigen.values[0]!);
  });

  it("knows the second difference matrix, diagonal, repeated and zero matrices", () => {
    const n = 12;
    const matrix = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      matrix[i * n + i] = 2;
      if (i > 0) matrix[i * n + i - 1] = -1;
      if (i < n - 1) matrix[i * n + i + 1] = -1;
    }
    const expected = Array.from({ length: n }, (_, k) => 2 - 2 * Math.cos(((n - k) * Math.PI) / (n + 1)));
    expect(largestDifference(symmetricEigen(matrix, n).values, expected)).toBeLessThan(1e-14);
    expect(symmetricEigen(Float64Array.of(1, 0, 0, 3), 2)).toEqual({
      values: Float64Array.of(3, 1),
      vectors: Float64Array.of(0, 1, 1, 0),
    });
    expect(symmetricEigen(Float64Array.of(2, 0, 0, 2), 2).values).toEqual(Float64Array.of(2, 2));
    expect(symmetricEigen(new Float64Array(16), 4).values).toEqual(new Float64Array(4));
  });

  it("refuses other sizes and values that are not finite", () => {
    expect(() => symmetricEigen(new Float64Array(5), 2)).toThrow("matrix: expected 4 values");
    expect(() => symmetricEigen(Float64Array.of(1, 0, 0, NaN), 2)).toThrow("matrix[3]");
  });
});
