import { describe, expect, it } from "vitest";
import { createFeatureMap, optimalExponent, optimalOprf } from "../../src/index.ts";
import { MomentAccumulator, balance, calibrate } from "../../src/calibration/index.ts";
import { multiply, multiplyTransposed, transpose } from "../../src/linear-algebra/products.ts";
import { largestDifference } from "../features/differences.ts";
import { normals } from "../features/samples.ts";

const dim = 5;

function correlated(rows: number, seed: number, shift: number): Float64Array {
  const mixing = normals(dim * dim, seed + 50, 0.3).map((value, i) => value + (i % (dim + 1) === 0 ? 1 : 0));
  return multiply(normals(rows * dim, seed), mixing, rows, dim, dim).map((value) => value + shift);
}

function covariance(x: Float64Array, rows: number): Float64Array {
  const mean = Float64Array.from({ length: dim }, (_, i) => {
    let sum = 0;
    for (let row = 0; row < rows; row++) sum += x[row * dim + i]!;
    return sum / rows;
  });
  const centred = x.map((value, i) => value - mean[i % dim]!);
  return multiply(transpose(centred, rows, dim), centred, dim, rows, dim).map((value) => value / rows);
}

const query = correlated(400, 1, 0.7);
const key = correlated(400, 2, -1.1);

function accumulated(q = query, k = key): MomentAccumulator {
  const accumulator = new MomentAccumulator(dim);
  accumulator.add(q, k);
  return accumulator;
}

describe("MomentAccumulator", () => {
  it("gives mean and population covariance", () => {
    const moments = accumulated().moments();
    expect(moments.count).toBe(400);
    expect(largestDifference(moments.queryCovariance, covariance(query, 400))).toBeLessThan(1e-12);
    expect(largestDifference(moments.keyCovariance, covariance(key, 400))).toBeLessThan(1e-12);
  });

  it("does not depend on how the data is split, merged, or summed elsewhere", () => {
    const whole = accumulated().moments();
    const parts = new MomentAccumulator(dim);
    parts.add(query.subarray(0, 7 * dim), key.subarray(0, 7 * dim));
    const rest = new MomentAccumulator(dim);
    rest.add(query.subarray(7 * dim, 300 * dim), key.subarray(7 * dim, 300 * dim));
    rest.add(new Float64Array(0), new Float64Array(0));
    const sums = (x: Float64Array) => ({
      count: x.length / dim,
      sum: Float64Array.from({ length: dim }, (_, i) => x.reduce((sum, v, at) => sum + (at % dim === i ? v : 0), 0)),
      gram: multiply(transpose(x, x.length / dim, dim), x, dim, x.length / dim, dim),
    });
    rest.addMoments(sums(query.subarray(300 * dim)), sums(key.subarray(300 * dim)));
    parts.merge(rest);
    const merged = parts.moments();
    expect(merged.count).toBe(400);
    expect(largestDifference(merged.queryMean, whole.queryMean)).toBeLessThan(1e-13);
    expect(largestDifference(merged.queryCovariance, whole.queryCovariance)).toBeLessThan(1e-12);
    expect(largestDifference(merged.keyCovariance, whole.keyCovariance)).toBeLessThan(1e-12);
  });

  it("weights: an integer weight is repetition, 0 leaves a row out, NaN there is refused", () => {
    const weighted = new MomentAccumulator(dim);
    weighted.add(query.subarray(0, 3 * dim), key.subarray(0, 3 * dim), Float64Array.of(2, 0, 1));
    const repeated = new MomentAccumulator(dim);
    for (const row of [0, 0, 2]) {
      repeated.add(query.subarray(row * dim, (row + 1) * dim), key.subarray(row * dim, (row + 1) * dim));
    }
    expect(largestDifference(weighted.moments().queryCovariance, repeated.moments().queryCovariance)).toBeLessThan(
      1e-13,
    );
    expect(largestDifference(weighted.moments().keyMean, repeated.moments().keyMean)).toBeLessThan(1e-14);
  });

  it("keeps its digits when the mean is a million deviations away", () => {
    const far = accumulated(
      query.map((value) => value + 1e6),
      key,
    );
    expect(largestDifference(far.moments().queryCovariance, covariance(query, 400))).toBeLessThan(1e-8);
  });

  it("refuses bad arguments", () => {
    const accumulator = new MomentAccumulator(dim);
    expect(() => accumulator.moments()).toThrow("at least one query");
    expect(() => accumulator.add(new Float64Array(dim + 1), key)).toThrow("query: expected [rows, 5] values");
    expect(() =>
      accumulator.add(
        query.map((v, i) => (i === 8 ? NaN : v)),
        key,
      ),
    ).toThrow("query[8]");
    expect(() => accumulator.add(query, key, -1)).toThrow("weight");
    expect(() => accumulator.add(query, key, new Float64Array(3))).toThrow("weight: expected 400 values");
    expect(() => accumulator.merge(new MomentAccumulator(2))).toThrow("other.dim");
  });
});

function transformed(x: Float64Array, mean: Float64Array, matrix: Float64Array): Float64Array {
  const centred = x.map((value, i) => value - mean[i % dim]!);
  return multiplyTransposed(centred, matrix, x.length / dim, dim, dim);
}

describe("balance", () => {
  const moments = accumulated().moments();
  const balanced = balance(moments);
  const q = transformed(query, balanced.queryMean, balanced.queryMatrix);
  const k = transformed(key, balanced.keyMean, balanced.keyMatrix);

  it("gives both sides the same diagonal covariance, half of lambda", () => {
    const expected = new Float64Array(dim * dim);
    for (let i = 0; i < dim; i++) expected[i * dim + i] = balanced.eigenvalues[i]! / 2;
    expect(largestDifference(covariance(q, 400), expected)).toBeLessThan(1e-9);
    expect(largestDifference(covariance(k, 400), expected)).toBeLessThan(1e-9);
  });

  it("keeps q.k, but for a term per key and a term per query", () => {
    for (let row = 0; row < 50; row++) {
      let exact = 0;
      let found = 0;
      for (let l = 0; l < dim; l++) {
        const at = row * dim + l;
        exact += query[at]! * key[at]!;
        found += q[at]! * k[at]!;
        found += balanced.queryMean[l]! * (key[at]! - balanced.keyMean[l]!) + query[at]! * balanced.keyMean[l]!;
      }
      expect(found).toBeCloseTo(exact, 10);
    }
  });

  it("floors eigenvalues: heads without variance, or with less than d directions, still have an inverse", () => {
    const zero = { ...moments, queryCovariance: new Float64Array(dim * dim) };
    const flat = { ...moments, keyCovariance: new Float64Array(dim * dim).map((_, i) => (i === 0 ? 1 : 0)) };
    for (const degenerate of [zero, flat]) {
      const { queryMatrix, keyMatrix } = balance(degenerate);
      const product = multiply(transpose(queryMatrix, dim, dim), keyMatrix, dim, dim, dim);
      for (let i = 0; i < dim * dim; i++) expect(product[i]!).toBeCloseTo(i % (dim + 1) === 0 ? 1 : 0, 9);
    }
  });

  it("refuses moments of other sizes or that are not finite", () => {
    expect(() => balance({ ...moments, queryMean: new Float64Array(2) })).toThrow("moments.queryMean: expected 5");
    expect(() => balance({ ...moments, keyMean: new Float64Array(dim).fill(NaN) })).toThrow("moments.keyMean[0]");
    expect(() => balance({ ...moments, keyCovariance: new Float64Array(3) })).toThrow("moments.keyCovariance");
  });
});

/**
 * E phi(x)^2 phi(y)^2 exp(|x|^2 + |y|^2) in one dimension, s = (x + y)^2: (1 - 4a) E exp(4 a w^2 + 2 b w (x + y)), with
 * E exp(c w^2 + u w) = (1 - 2c)^(-1/2) exp(u^2 / (2 (1 - 2c))).
 */
function secondMoment(a: number, s: number): number {
  return ((1 - 4 * a) / Math.sqrt(1 - 8 * a)) * Math.exp((2 * (1 - 4 * a) * s) / (1 - 8 * a));
}

describe("closed-form exponents", () => {
  it("match the published formula, and go smoothly to 0", () => {
    for (const lambda of [0.01, 0.5, 3, 100]) {
      const rho = (Math.sqrt((2 * lambda + 1) ** 2 + 8 * lambda) - 2 * lambda - 1) / (4 * lambda);
      expect(optimalExponent(lambda)).toBeCloseTo((1 - 1 / rho) / 8, 11);
      expect(optimalOprf(lambda, 1)).toBeCloseTo(optimalExponent(lambda), 14);
    }
    expect(optimalExponent(0)).toBe(0);
    expect(optimalExponent(1e-14)).toBeCloseTo(-0.5e-14, 16);
    expect(() => optimalExponent(-1)).toThrow("lambda");
    expect(() => optimalOprf(NaN, 4)).toThrow("meanSquare");
  });

  it("minimise the closed-form second moment of the estimate", () => {
    for (const s of [0.1, 1, 7]) {
      const best = secondMoment(optimalExponent(s), s);
      for (const step of [-0.02, -0.001, 0.001, 0.02]) {
        expect(secondMoment(optimalExponent(s) + step, s)).toBeGreaterThan(best);
      }
    }
  });
});

describe("calibrate", () => {
  it("is deterministic plain JSON with the requested projection", () => {
    const moments = accumulated().moments();
    const description = calibrate(moments, { count: 8, seed: 3, layer: 1, head: 2 });
    expect(description.projection).toEqual({ kind: "orthogonal", count: 8, dim, seed: 3, layer: 1, head: 2 });
    expect(JSON.parse(JSON.stringify(description))).toEqual(description);
    expect(calibrate(moments, { count: 8, seed: 3, layer: 1, head: 2 })).toEqual(description);
    expect(() => calibrate(moments, { count: 0, seed: 3 })).toThrow("options.count");
  });

  it("estimates the attention of off-centre data far better than plain positive features", () => {
    const mild = query.map((value) => 0.5 * value);
    const offCentre = key.map((value) => 0.5 * value - 2);
    const map = createFeatureMap(calibrate(accumulated(mild, offCentre).moments(), { count: 64, seed: 3 }));
    const plain = createFeatureMap({
      version: 1,
      kind: "positive",
      projection: { kind: "orthogonal", count: 64, dim, seed: 3 },
    });
    const logits = multiplyTransposed(mild, offCentre, 400, dim, 400);
    const error = (phi: typeof map): number => {
      const estimate = multiplyTransposed(phi.query(mild), phi.key(offCentre), 400, phi.count, 400);
      // The mean absolute error of the normalised attention.
      let sum = 0;
      for (let i = 0; i < 400; i++) {
        let exactTotal = 0;
        let total = 0;
        for (let j = 0; j < 400; j++) {
          exactTotal += Math.exp(logits[i * 400 + j]!);
          total += estimate[i * 400 + j]!;
        }
        for (let j = 0; j < 400; j++) {
          sum += Math.abs(Math.exp(logits[i * 400 + j]!) / exactTotal - estimate[i * 400 + j]! / total) / 400;
        }
      }
      return sum;
    };
    expect(error(map)).toBeLessThan(0.6 * error(plain));
  });
});
