import { describe, expect, it } from "vitest";
import { createFeatureMap } from "../../src/index.ts";
import { attentionComplexity, crossoverLength, theorem1, theorem1Failure } from "../../src/theory/index.ts";
import type { AttentionMethod } from "../../src/theory/index.ts";
import { dotRows } from "../features/samples.ts";

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
