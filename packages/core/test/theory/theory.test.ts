import { describe, expect, it } from "vitest";
import { createFeatureMap } from "../../src/index.ts";
import {
  MomentAccumulator,
  attentionError,
  calibrate,
  exactSample,
  featuresForError,
  selectFeatureMap,
  selectSeed,
} from "../../src/calibration/index.ts";
import { attentionComplexity, crossoverLength, theorem1, theorem1Failure } from "../../src/theory/index.ts";
import type { FeatureMapDescription } from "../../src/index.ts";
import type { AttentionInput, HeadMoments } from "../../src/calibration/index.ts";
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

/** The exponent of L with which a method's operations grow. */
function growth(method: AttentionMethod): number {
  const at = (length: number): number => attentionComplexity(method, { length, dim: 64, count: 128 }).operations;
  return Math.log2(at(1 << 17) / at(1 << 16));
}

describe("complexity", () => {
  it("grows as the paper says", () => {
    expect(growth("exact")).toBeCloseTo(2, 10);
    expect(growth("favor")).toBeCloseTo(1, 10);
    expect(growth("sparse")).toBeCloseTo(1.5, 1);
    expect(attentionComplexity("favor", { length: 0, dim: 1, count: 1 }).operations).toBe(0);
  });

  it("counts what the plain algorithms do, and where FAVOR wins", () => {
    for (const causal of [false, true]) {
      const length = crossoverLength(128, { causal });
      const cost = (method: "exact" | "favor"): number =>
        attentionComplexity(method, { length, dim: 64, count: 128, causal }).operations;
      expect(cost("favor")).toBe(cost("exact"));
    }
    expect(attentionComplexity("exact", { length: 10, dim: 4 })).toEqual({ operations: 800, memory: 100 });
    expect(attentionComplexity("favor", { length: 10, dim: 4, count: 3 })).toEqual({ operations: 480, memory: 72 });
    expect(attentionComplexity("lsh", { length: 256, dim: 4, block: 32, rounds: 2 }).memory).toBe(2 * 256 * 65);
    expect(() => attentionComplexity("favor", { length: 10, dim: 4 })).toThrow("options.count");
    expect(() => attentionComplexity("exact", { length: -1, dim: 4 })).toThrow("options.length");
  });
});

describe("attention error", () => {
  const dim = 4;
  const inputs: AttentionInput[] = [1, 2, 3].map((seed) => ({
    query: normals(20 * dim, seed, 0.8),
    key: normals(25 * dim, seed + 10, 0.8).map((value, i) => value + (i % dim)),
  }));
  const sample = exactSample(inputs, dim);
  const moments = ((): HeadMoments => {
    const accumulator = new MomentAccumulator(dim);
    for (const { query, key } of inputs) accumulator.add(query, key);
    return accumulator.moments();
  })();

  it("is 0 for a map that is exact, 1 at most in the misplaced share", () => {
    // Queries of length 0 attend alike to every key: positive features of 0 know that exactly.
    const flat = exactSample([{ query: new Float64Array(3 * dim), key: new Float64Array(5 * dim) }], dim);
    const description: FeatureMapDescription = {
      version: 1,
      kind: "positive",
      projection: { kind: "iid", count: 2, dim, seed: 0 },
    };
    const exact = attentionError(createFeatureMap(description), flat);
    expect(exact.relative).toBeLessThan(1e-15);
    const poor = attentionError(createFeatureMap(description), sample);
    expect(poor.misplaced).toBeGreaterThan(0.1);
    expect(poor.misplaced).toBeLessThanOrEqual(1);
  });

  function meanError(count: number): number {
    let sum = 0;
    for (let seed = 0; seed < 6; seed++) {
      sum += attentionError(createFeatureMap(calibrate(moments, { count, seed })), sample).relative;
    }
    return sum / 6;
  }

  it("shrinks as one over the square root of the number of features", () => {
    const ratio = meanError(64) / meanError(1024);
    expect(ratio).toBeGreaterThan(3);
    expect(ratio).toBeLessThan(5.5);
  });

  it("featuresForError finds a count that suffices where half of it does not", () => {
    const found = featuresForError(inputs, 0.3, { dim });
    expect(found.reached).toBe(true);
    expect(found.error).toBeLessThanOrEqual(0.3);
    expect(found.measured.find(({ count }) => count >= found.count / 2)?.error).toBeGreaterThan(0.3);
    const never = featuresForError(inputs, 1e-9, { dim, maximum: 32, draws: 1 });
    expect(never).toMatchObject({ reached: false, count: 32 });
    expect(() => featuresForError(inputs, 0, { dim })).toThrow("epsilon");
    expect(() => featuresForError([], 0.1, { dim })).toThrow("inputs");
  });

  it("seed selection takes the best redraw, and says which", () => {
    const { description, errors } = selectSeed(moments, sample, { count: 16, seed: 4, draws: 8 });
    expect(errors.length).toBe(8);
    const best = errors.indexOf(Math.min(...errors));
    expect(description.projection).toMatchObject({ seed: 4, epoch: best });
    expect(attentionError(createFeatureMap(description), sample).relative).toBe(errors[best]);
    expect(Math.max(...errors)).toBeGreaterThan(1.05 * Math.min(...errors));
    expect(() => selectFeatureMap([], sample)).toThrow("candidates");
    expect(() => selectFeatureMap([{ version: 1, kind: "elu", dim: 2 }], sample)).toThrow("featureMap.dim");
  });
});
