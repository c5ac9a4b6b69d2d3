import { describe, expect, it } from "vitest";
import { RandomStream, createProjection, drawProjection, streamPurpose } from "../../src/index.ts";
import type { ProjectionKind } from "../../src/index.ts";

/**
 * E exp(t n r) over the length n of a Gaussian vector of `dim` numbers, at a symmetric r: the sum over k of
 * (t r)^2k / (2k)! E n^2k, where E n^2k = dim (dim + 2) ... (dim + 2k - 2).
 */
function meanOverLengths(dim: number, product: number): number {
  let term = 1;
  let sum = 1;
  for (let k = 0; term > sum * 1e-16; k++) {
    term *= (product * product * (dim + 2 * k)) / ((2 * k + 1) * (2 * k + 2));
    sum += term;
  }
  return sum;
}

// A row of an orthogonal block is a direction times a length. The mean over lengths is known, so that what is left to draw is
// the direction, whose distribution is what these kinds only approach.
describe.each(["givens", "hadamard"] satisfies ProjectionKind[])("%s: the positive estimator of exp(|x|^2)", (kind) => {
  it.each([
    [2, 1, "one axis"],
    [2, 2, "a diagonal"],
    [3, 2, "a diagonal"],
    [4, 4, "a diagonal"],
    [8, 3, "one axis"],
    [8, 8, "one axis"],
    [16, 5, "a diagonal"],
    [16, 16, "one axis"],
    [32, 16, "one axis"],
    [64, 16, "one axis"],
  ])("d = %i, M = %i, x of length 1 along %s", (dim, count, along) => {
    const x = new Float64Array(dim);
    if (along === "one axis") x[0] = 1;
    else x.fill(1 / Math.sqrt(dim));
    const wide = kind === "hadamard" ? Math.max(32, dim) : dim;
    const draws = Math.ceil(16_000 / count);
    const means = Array.from({ length: draws }, (_, epoch) => {
      const rows = createProjection({ kind, count, dim, seed: 31, epoch, norms: "sqrt-dim" }).apply(x);
      return (
        rows.reduce((sum, row) => sum + meanOverLengths(wide, (2 * row) / Math.sqrt(wide)) / count, 0) * Math.exp(-2)
      );
    });
    const mean = means.reduce((sum, value) => sum + value, 0) / draws;
    const error = Math.sqrt(means.reduce((sum, value) => sum + (value - mean) ** 2, 0)) / draws;
    expect(error).toBeLessThan(dim === 64 ? 0.06 : 0.03);
    expect(Math.abs(mean - 1)).toBeLessThan(0.01 + 4 * error);
  });

  it("no row remembers an axis", () => {
    const dim = 8;
    const draws = 2000;
    const squares = new Float64Array(dim);
    for (let epoch = 0; epoch < draws; epoch++) {
      const first = drawProjection({ kind, count: 1, dim, seed: 32, epoch });
      for (let i = 0; i < dim; i++) squares[i]! += first[i]! ** 2 / draws;
    }
    for (const square of squares) expect(Math.abs(square - 1)).toBeLessThan(5 * Math.sqrt(2 / draws));
  });
});

/** The Walsh-Hadamard transform, by definition. */
function walshHadamard(x: Float64Array): Float64Array {
  const parity = (bits: number): number => (bits === 0 ? 0 : (bits & 1) ^ parity(bits >> 1));
  return x.map((_, m) => x.reduce((sum, value, i) => sum + (parity(m & i) === 0 ? value : -value), 0));
}

/**
 * The relative bias of the positive estimator of exp(|x|^2), over rows r H D1 H D2 e0 / D of `wide` numbers: the mean over D1 and
 * over the length r, chi with `wide` degrees of freedom, is known; D2 is drawn.
 */
function biasAlongAxis(wide: number, square: number, draws: number): number {
  const stream = new RandomStream({ seed: 33, purpose: streamPurpose.trials });
  const lengths = Array.from({ length: 24 }, (_, n) => Math.sqrt(wide) - 4 + (n + 0.5) / 3);
  const densities = lengths.map((r) => Math.exp((wide - 1) * Math.log(r / Math.sqrt(wide)) - (r * r - wide) / 2));
  const total = densities.reduce((sum, density) => sum + density, 0);
  let mean = 0;
  for (let draw = 0; draw < draws; draw++) {
    const row = walshHadamard(Float64Array.from({ length: wide }, () => stream.sign() / wide));
    for (const [n, r] of lengths.entries()) {
      const factor = 2 * r * Math.sqrt(square / wide);
      mean += (densities[n]! / total / draws) * row.reduce((product, z) => product * Math.cosh(factor * z), 1);
    }
  }
  return mean * Math.exp(-2 * square) - 1;
}

describe("hadamard, along an axis", () => {
  it.each([2, 8, 16, 17, 32])("d = %i: off by less than one per cent at |x|^2 up to 1.5", (dim) => {
    const { storage } = createProjection({ kind: "hadamard", count: 1, dim, seed: 0 });
    const wide = (storage - 1) / 3; // the signs of one block
    expect(Math.abs(biasAlongAxis(wide, 1, 2000))).toBeLessThan(0.008);
    expect(Math.abs(biasAlongAxis(wide, 1.5, 2000))).toBeLessThan(0.01);
  });
});
