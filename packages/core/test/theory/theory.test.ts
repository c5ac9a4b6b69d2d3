import { describe, expect, it } from "vitest";
import { lshSubsets, sparseSubset } from "../../src/comparison/index.ts";
import { createFeatureMap, favorAttention } from "../../src/index.ts";
import { attentionComplexity, crossoverLength, theorem1, theorem1Failure } from "../../src/theory/index.ts";
import type { AttentionMethod } from "../../src/theory/index.ts";
import { dotRows, normals } from "../features/samples.ts";

describe("Theorem 1", () => {
  const dim = 2;
  const radius = 1;
  const epsilon = 1;

  it.each(["pair", "phase"] as const)("%s: with its count, no entry is off by more than epsilon", (variant) => {
    const { count, delta } = theorem1({ dim, radius, epsilon, failure: 0.05, variant });
    expect(delta).toBeCloseTo(epsilon * Math.exp(-(radius ** 2) / Math.sqrt(dim)), 14);
    // The corners of the ball, where the error of exp(q.k) is largest, and its inside.
    const points = Float64Array.from({ length: 2 * 24 }, (_, i) => {
      const angle = (Math.PI * 2 * Math.floor(i / 2)) / 12;
      const length = i < 24 ? 1 : 0.5;
      return radius * length * dim ** -0.25 * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
    });
    let failures = 0;
    for (let epoch = 0; epoch < 40; epoch++) {
      const projection = { kind: "iid", count, dim, seed: 3, epoch } as const;
      const map = createFeatureMap({ version: 1, kind: "trigonometric", variant, projection });
      const [phiQ, phiK] = [map.query(points), map.key(points)];
      let worst = 0;
      for (let i = 0; i < 24; i++) {
        for (let j = 0; j < 24; j++) {
          const error = dotRows(phiQ, phiK, i, j, map.count) - Math.exp(dotRows(points, points, i, j, dim));
          worst = Math.max(worst, Math.abs(error));
        }
      }
      if (worst > epsilon) failures++;
    }
    expect(failures).toBeLessThanOrEqual(2);
  });

  it("holds in a ball so small that the estimate hardly varies", () => {
    // Here the phase variant is off by cos(2 w.x + 2 b), wherever x is: a bound that vanishes with the ball is none.
    const options = { dim, radius: 1e-3, epsilon: 0.5, variant: "phase" } as const;
    const { count } = theorem1({ ...options, failure: 0.05 });
    expect(theorem1Failure(options, 2)).toBe(1);
    const failed = Array.from({ length: 200 }, (_, epoch) => {
      const projection = { kind: "iid", count, dim, seed: 4, epoch } as const;
      const map = createFeatureMap({ version: 1, kind: "trigonometric", variant: "phase", projection });
      const origin = new Float64Array(dim);
      return Math.abs(dotRows(map.query(origin), map.key(origin), 0, 0, map.count) - 1) > options.epsilon;
    });
    expect(failed.filter(Boolean).length / 200).toBeLessThanOrEqual(0.05);
  });

  it("bounds the largest entry, with one count for every length; row sums grow with the length", () => {
    const options = { dim: 8, radius: 2, epsilon: 0.5 };
    const { count } = theorem1(options);
    const projection = { kind: "iid", count: 256, dim: 8, seed: 6 } as const;
    const map = createFeatureMap({ version: 1, kind: "trigonometric", variant: "pair", projection });
    expect(count).toBeGreaterThan(256);
    const [entries, sums] = [[], []] as [number[], number[]];
    for (const length of [64, 512]) {
      const key = normals(length * 8, 3, 0.5);
      const query = normals(8, 4, 0.5);
      const [phiQ, phiK] = [map.query(query), map.key(key)];
      const errors = Array.from({ length }, (_, j) =>
        Math.abs(dotRows(phiQ, phiK, 0, j, map.count) - Math.exp(dotRows(query, key, 0, j, 8))),
      );
      entries.push(Math.max(...errors));
      sums.push(errors.reduce((a, b) => a + b, 0));
    }
    expect(sums[1]! / sums[0]!).toBeGreaterThan(6);
    expect(entries[1]! / entries[0]!).toBeLessThan(3);
  });

  it("count and failure are inverse, and of the order of M_opt", () => {
    const options = { dim: 64, radius: 4, epsilon: 0.3 };
    const { count, order } = theorem1({ ...options, failure: 0.01 });
    expect(theorem1Failure(options, count)).toBeLessThanOrEqual(0.01);
    expect(theorem1Failure(options, count - 1)).toBeGreaterThan(0.01);
    expect(theorem1Failure(options, 1)).toBe(1);
    expect(count / order).toBeGreaterThan(1);
    expect(count / order).toBeLessThan(20);
    const half = theorem1({ ...options, epsilon: 0.15, failure: 0.01 });
    expect(half.count / count).toBeGreaterThan(4);
    expect(half.count / count).toBeLessThan(5);
  });

  it("refuses arguments out of range", () => {
    expect(() => theorem1({ dim: 0, radius: 1, epsilon: 1 })).toThrow("options.dim");
    expect(() => theorem1({ dim: 2, radius: -1, epsilon: 1 })).toThrow("options.radius");
    expect(() => theorem1({ dim: 2, radius: 1, epsilon: NaN })).toThrow("options.epsilon");
    expect(() => theorem1({ dim: 2, radius: 1, epsilon: 1, failure: 1 })).toThrow("options.failure");
    expect(() => theorem1Failure({ dim: 2, radius: 1, epsilon: 1 }, 0)).toThrow("count");
  });
});

const size = { length: 1024, dim: 8, count: 12 };
const random = (width: number, seed: number) => normals(size.length * width, seed, 0.3);

/** Multiplications, each with its addition, of the products q.k and weights times values for `pairs` of a query and a key. */
const ofPairs = (pairs: number) => 2 * pairs * size.dim;

/** The exponent of L with which a method's operations grow. */
function growth(method: AttentionMethod, causal = false): number {
  const at = (length: number) => attentionComplexity(method, { length, dim: 64, count: 128, causal }).operations;
  return Math.log2(at(1 << 21) / at(1 << 20));
}

describe("complexity", () => {
  const { length, dim } = size;

  it("exact attention: pairs of a query and a key", () => {
    for (const causal of [false, true]) {
      let pairs = 0;
      for (let i = 0; i < length; i++) pairs += causal ? i + 1 : length;
      const { operations } = attentionComplexity("exact", { length, dim, causal });
      expect(operations / ofPairs(pairs)).toBeCloseTo(1, 2);
    }
  });

  it("FAVOR: what it multiplies by, written out", () => {
    const { count } = size;
    const featureMap = createFeatureMap({
      version: 1,
      kind: "positive",
      projection: { kind: "orthogonal", count, dim, seed: 1 },
    });
    const [query, key, value] = [random(dim, 1), random(dim, 2), random(dim, 3)];
    const features = [featureMap.query(query), featureMap.key(key)] as const;
    let operations = 2 * length * count * dim;
    const sums = new Float64Array(count * dim);
    const total = new Float64Array(count);
    for (let j = 0; j < length; j++) {
      for (let m = 0; m < count; m++) {
        total[m]! += features[1][j * count + m]!;
        for (let c = 0; c < dim; c++, operations++)
          sums[m * dim + c]! += features[1][j * count + m]! * value[j * dim + c]!;
      }
    }
    const out = new Float64Array(length * dim);
    for (let i = 0; i < length; i++) {
      let normaliser = 0;
      for (let m = 0; m < count; m++) {
        normaliser += features[0][i * count + m]! * total[m]!;
        for (let c = 0; c < dim; c++, operations++)
          out[i * dim + c]! += features[0][i * count + m]! * sums[m * dim + c]!;
      }
      for (let c = 0; c < dim; c++) out[i * dim + c]! /= normaliser;
    }
    const expected = favorAttention(query, key, value, { featureMap });
    for (const [i, number] of out.entries()) expect(Math.abs(number - expected[i]!)).toBeLessThan(1e-12);
    expect(attentionComplexity("favor", size).operations).toBe(operations);
  });

  it.each([true, false])("sparse attention: the keys of its pattern, causal %s", (causal) => {
    for (const stride of [16, 32, 64]) {
      let pairs = 0;
      for (let i = 0; i < length; i++) pairs += sparseSubset({ kind: "strided", stride }, i, length, causal).length;
      const { operations, memory } = attentionComplexity("sparse", { length, dim, block: stride, causal });
      expect(operations / ofPairs(pairs)).toBeGreaterThan(0.9);
      expect(operations / ofPairs(pairs)).toBeLessThan(1.1);
      expect(memory).toBe(operations / ofPairs(1));
    }
  });

  it("LSH: hashing, then two chunks of keys for each query, of which those of another bucket are left out", () => {
    const query = random(dim, 4);
    const rounds = 2;
    const buckets = (2 * length) / 64;
    const hashing = rounds * length * (buckets / 2) * dim;
    const { operations } = attentionComplexity("lsh", { length, dim, rounds });
    expect(operations - hashing).toBe(rounds * ofPairs(length * 2 * 64));
    const subsets = lshSubsets(query, { dim, rounds, seed: 1 });
    const met = subsets.reduce((sum, subset) => sum + subset.length, 0);
    expect(met).toBeLessThan(rounds * length * 2 * 64);
    expect(met).toBeGreaterThan(0.1 * length * 2 * 64);
    // The default of lshSubsets is the formula's number of buckets.
    expect(subsets).toEqual(lshSubsets(query, { dim, rounds, seed: 1, buckets, chunk: 64 }));
  });

  it("grows as documented", () => {
    expect(growth("exact")).toBeCloseTo(2, 10);
    expect(growth("favor")).toBeCloseTo(1, 10);
    expect(growth("sparse")).toBeCloseTo(1.5, 1);
    expect(growth("sparse", true)).toBeCloseTo(1.5, 1);
    expect(growth("lsh")).toBeGreaterThan(1.9);
    expect(attentionComplexity("favor", { length: 0, dim: 1, count: 1 }).operations).toBe(0);
  });

  it("says where FAVOR wins", () => {
    for (const causal of [false, true]) {
      const cost = (method: "exact" | "favor"): number =>
        attentionComplexity(method, { length: crossoverLength(128, { causal }), dim: 64, count: 128, causal })
          .operations;
      expect(cost("favor")).toBe(cost("exact"));
    }
  });

  it("refuses sizes out of range", () => {
    expect(() => attentionComplexity("favor", { length: 10, dim: 4 })).toThrow("options.count");
    expect(() => attentionComplexity("exact", { length: -1, dim: 4 })).toThrow("options.length");
  });
});
