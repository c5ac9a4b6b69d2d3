import { describe, expect, it } from "vitest";
import { RandomStream, createProjection, drawProjection } from "../../src/index.ts";
import type { ProjectionDescription, ProjectionKind } from "../../src/index.ts";
import { multiplyTransposed } from "../../src/linear-algebra/products.ts";

const kinds: ProjectionKind[] = ["iid", "orthogonal", "hadamard", "givens"];
const orthogonalKinds: ProjectionKind[] = ["orthogonal", "hadamard", "givens"];

function rowNorms(matrix: Float64Array, dim: number): number[] {
  return Array.from({ length: matrix.length / dim }, (_, row) =>
    Math.sqrt(matrix.subarray(row * dim, (row + 1) * dim).reduce((sum, value) => sum + value * value, 0)),
  );
}

describe.each(kinds)("%s projection", (kind) => {
  it.each([
    [1, 1],
    [3, 8],
    [64, 16],
    [37, 15],
    [10, 256],
    [130, 64],
  ])("of %i rows and %i columns: apply equals the matrix", (count, dim) => {
    const projection = createProjection({ kind, count, dim, seed: 11 });
    const x = new RandomStream({ seed: 1, purpose: 6 }).gaussians(5 * dim);
    const matrix = projection.materialize();
    expect(matrix.length).toBe(count * dim);
    const expected = multiplyTransposed(x, matrix, 5, dim, count);
    const applied = projection.apply(x);
    for (let i = 0; i < expected.length; i++) expect(Math.abs(applied[i]! - expected[i]!)).toBeLessThan(1e-12 * 100);
    expect(projection.apply(new Float64Array(0)).length).toBe(0);
  });

  it("is determined by its description, and differs in every part of it", () => {
    const base: ProjectionDescription = { kind, count: 20, dim: 8, seed: 3 };
    expect(drawProjection(base)).toEqual(drawProjection({ ...base, layer: 0, head: 0, epoch: 0 }));
    const others = [{ seed: 4 }, { layer: 1 }, { head: 1 }, { epoch: 1 }];
    for (const other of others) expect(drawProjection({ ...base, ...other })).not.toEqual(drawProjection(base));
  });

  it("has rows of mean 0 and covariance 1", () => {
    const dim = 4;
    const rows = 40_000;
    const sums = new Float64Array(dim);
    const gram = new Float64Array(dim * dim);
    for (let epoch = 0; epoch < 100; epoch++) {
      const matrix = drawProjection({ kind, count: rows / 100, dim, seed: 5, epoch });
      for (let i = 0; i < matrix.length; i++) sums[i % dim]! += matrix[i]! / rows;
      for (let row = 0; row < rows / 100; row++) {
        for (let i = 0; i < dim; i++) {
          for (let j = 0; j < dim; j++) gram[i * dim + j]! += (matrix[row * dim + i]! * matrix[row * dim + j]!) / rows;
        }
      }
    }
    for (let i = 0; i < dim * dim; i++) {
      const expected = i % (dim + 1) === 0 ? 1 : 0;
      expect(Math.abs(gram[i]! - expected)).toBeLessThan(5 * Math.sqrt(2 / rows));
    }
    for (const sum of sums) expect(Math.abs(sum)).toBeLessThan(5 * Math.sqrt(1 / rows));
  });
});

describe.each(orthogonalKinds)("%s projection", (kind) => {
  it("has orthogonal rows within each block, to 1e-6 and better", () => {
    for (const dim of [32, 64]) {
      const matrix = drawProjection({ kind, count: 2 * dim, dim, seed: 7 });
      const norms = rowNorms(matrix, dim);
      for (const first of [0, dim]) {
        const block = matrix.subarray(first * dim, (first + dim) * dim);
        const gram = multiplyTransposed(block, block, dim, dim, dim);
        for (let i = 0; i < dim; i++) {
          for (let j = 0; j < dim; j++) {
            const cosine = gram[i * dim + j]! / (norms[first + i]! * norms[first + j]!);
            expect(Math.abs(cosine - (i === j ? 1 : 0))).toBeLessThan(1e-12);
          }
        }
      }
    }
  });

  it("has row lengths sqrt(d), or those of Gaussian vectors", () => {
    const dim = 32;
    const fixed = drawProjection({ kind, count: 40, dim, seed: 7, norms: "sqrt-dim" });
    for (const norm of rowNorms(fixed, dim)) expect(norm).toBeCloseTo(Math.sqrt(dim), 12);
    const n = 4000;
    const squares = rowNorms(drawProjection({ kind, count: n, dim, seed: 7 }), dim).map((norm) => norm * norm);
    const mean = squares.reduce((sum, value) => sum + value, 0) / n;
    const variance = squares.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n;
    // chi-squared with d degrees: mean d, variance 2 d, fourth central moment 12 d (d + 4).
    expect(Math.abs(mean - dim)).toBeLessThan(5 * Math.sqrt((2 * dim) / n));
    expect(Math.abs(variance - 2 * dim)).toBeLessThan(5 * Math.sqrt((12 * dim * (dim + 4) - 4 * dim * dim) / n));
  });
});

function costOfSquare(kind: ProjectionKind, dim: number): { storage: number; operations: number } {
  return createProjection({ kind, count: dim, dim, seed: 0 });
}

describe("projection costs (table of 2006.03555, section 2.4)", () => {
  it.each([64, 256])("are O(M d) for dense kinds, O(M log d) for Givens and Hadamard: d = %i", (dim) => {
    const levels = Math.log2(dim);
    for (const kind of ["iid", "orthogonal"] as const) {
      expect(costOfSquare(kind, dim)).toMatchObject({ storage: dim * dim, operations: 2 * dim * dim });
    }
    expect(costOfSquare("hadamard", dim).storage).toBe(4 * dim);
    expect(costOfSquare("hadamard", dim).operations).toBeLessThanOrEqual(4 * dim * levels);
    expect(costOfSquare("givens", dim).storage).toBeLessThanOrEqual(13 * dim * levels);
    expect(costOfSquare("givens", dim).operations).toBeLessThanOrEqual(19 * dim * levels);
  });
});

describe("golden bits", () => {
  it.each([
    ["iid", "1525c00f71aaa663"],
    ["orthogonal", "c38bd7206b5f1db3"],
    ["hadamard", "8458cfcf970ccc5a"],
    ["givens", "eb19379ba8419f76"],
  ] as const)("%s is the same to the bit everywhere", (kind, golden) => {
    const matrix = drawProjection({ kind, count: 7, dim: 5, seed: 2026, layer: 2, head: 3, epoch: 4 });
    const bits = new BigUint64Array(matrix.buffer).reduce((hash, word) => BigInt.asUintN(64, hash * 31n + word), 0n);
    expect(bits.toString(16)).toBe(golden);
  });
});

describe("bad descriptions", () => {
  const good: ProjectionDescription = { kind: "iid", count: 4, dim: 4, seed: 0 };
  it.each([
    [{ kind: "sobol" }, "projection.kind: expected one of iid, orthogonal, hadamard, givens"],
    [{ count: 0 }, "projection.count"],
    [{ dim: 1.5 }, "projection.dim"],
    [{ seed: NaN }, "projection.seed"],
    [{ epoch: -1 }, "projection.epoch"],
    [{ norms: "unit" }, "projection.norms"],
    [{ norms: "sqrt-dim" }, "projection.norms"],
  ])("%o", (change, message) => {
    expect(() => drawProjection({ ...good, ...change } as ProjectionDescription)).toThrow(message);
  });

  it("x of another width", () => {
    expect(() => createProjection(good).apply(new Float64Array(5))).toThrow("x: expected [rows, 4] values");
  });
});
