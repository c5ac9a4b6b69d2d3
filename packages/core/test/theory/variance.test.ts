import { describe, expect, it } from "vitest";
import { createFeatureMap } from "../../src/index.ts";
import { kernelVariance } from "../../src/theory/index.ts";
import type { FeatureMapDescription, ProjectionDescription } from "../../src/index.ts";
import { exponentialEstimators } from "../features/samples.ts";

const x = Float64Array.of(0.3, -0.2, 0.1);
const y = Float64Array.of(0.2, 0.1, -0.3);
const dim = 3;

function sampleVariance(at: (epoch: number) => FeatureMapDescription, draws: number): { variance: number; sd: number } {
  const estimates = Array.from({ length: draws }, (_, epoch) => {
    const map = createFeatureMap(at(epoch));
    const phiY = map.key(y);
    return map.query(x).reduce((sum, value, i) => sum + value * phiY[i]!, 0);
  });
  const mean = estimates.reduce((sum, value) => sum + value, 0) / draws;
  const squares = estimates.map((value) => (value - mean) ** 2);
  const variance = squares.reduce((sum, value) => sum + value, 0) / draws;
  const fourth = squares.reduce((sum, value) => sum + (value - variance) ** 2, 0) / draws;
  return { variance, sd: Math.sqrt(fourth / draws) };
}

describe.each([
  ["iid", 4],
  ["orthogonal", 2],
  ["orthogonal", 5],
] as const)("variance over %s projections of %i rows, by Monte Carlo", (kind, count) => {
  const projection: ProjectionDescription = { kind, count, dim, seed: 5 };
  const cases = exponentialEstimators(projection)
    .map((description, index) => [description.kind, index] as const)
    .filter(([name]) => kind === "iid" || name !== "dense-exponential");

  it.each(cases)("%s (%i)", (_, index) => {
    const at = (epoch: number): FeatureMapDescription => exponentialEstimators({ ...projection, epoch })[index]!;
    const { variance, sd } = sampleVariance(at, 6000);
    expect(sd / variance).toBeLessThan(0.1);
    expect(Math.abs(variance - kernelVariance(at(0), x, y))).toBeLessThan(4.5 * sd);
  });
});

function axis(length: number): Float64Array {
  return Float64Array.of(length, 0, 0);
}

describe("kernelVariance", () => {
  const projection: ProjectionDescription = { kind: "iid", count: 3, dim, seed: 0 };
  const orthogonal: ProjectionDescription = { ...projection, kind: "orthogonal" };

  it("agrees with Lemma 2 of 2009.14794 in its own terms", () => {
    const exact = x[0]! * y[0]! + x[1]! * y[1]! + x[2]! * y[2]!;
    const norms = [...x, ...y].reduce((sum, value) => sum + value * value, 0);
    const u = norms + 2 * exact;
    const v = norms - 2 * exact;
    const sm = Math.exp(exact);
    const positive = (1 / 3) * Math.exp(u) * sm ** 2 * (1 - Math.exp(-u));
    expect(kernelVariance({ version: 1, kind: "positive", projection }, x, y)).toBeCloseTo(positive, 12);
    expect(kernelVariance({ version: 1, kind: "hyperbolic", projection }, x, y)).toBeCloseTo(
      0.5 * (1 - Math.exp(-u)) * positive,
      12,
    );
    const pair = (1 / 6) * Math.exp(u) * sm ** -2 * (1 - Math.exp(-v)) ** 2;
    expect(kernelVariance({ version: 1, kind: "trigonometric", variant: "pair", projection }, x, y)).toBeCloseTo(
      pair,
      12,
    );
  });

  it("orthogonal rows gain at least what Theorem 2 of 2009.14794 promises", () => {
    for (const scale of [0.3, 1, 2]) {
      const [a, b] = [x.map((value) => scale * value), y.map((value) => scale * value)];
      const norms = [...a, ...b].reduce((sum, value) => sum + value * value, 0);
      const sm = Math.exp(a.reduce((sum, value, i) => sum + value * b[i]!, 0));
      const gain =
        kernelVariance({ version: 1, kind: "positive", projection }, a, b) -
        kernelVariance({ version: 1, kind: "positive", projection: orthogonal }, a, b);
      const promised = ((2 * 2) / (3 * (dim + 2))) * (sm - Math.exp(-norms / 2)) ** 2;
      expect(gain).toBeGreaterThanOrEqual(promised);
    }
  });

  it("is 0 where the estimator is exact, and positive features win where attention is small", () => {
    const pair: FeatureMapDescription = { version: 1, kind: "trigonometric", variant: "pair", projection };
    const positive: FeatureMapDescription = { version: 1, kind: "positive", projection };
    const opposite = x.map((value) => -value);
    expect(kernelVariance(pair, x, x)).toBe(0);
    expect(kernelVariance(positive, x, opposite)).toBe(0);
    const far = x.map((value) => 6 * value);
    const away = x.map((value) => -5 * value);
    expect(kernelVariance(positive, far, away)).toBeLessThan(1e-3 * kernelVariance(pair, far, away));
  });

  it("stays finite and not negative for long vectors over orthogonal rows", () => {
    const long = x.map((value) => 20 * value);
    for (const kind of ["positive", "hyperbolic"] as const) {
      const variance = kernelVariance({ version: 1, kind, projection: orthogonal }, long, long);
      expect(variance).toBeGreaterThan(0);
      expect(variance).toBeLessThan(Infinity);
    }
    const pair: FeatureMapDescription = { version: 1, kind: "trigonometric", variant: "pair", projection: orthogonal };
    expect(kernelVariance(pair, long, y)).toBeGreaterThan(0);
  });

  it.each(["iid", "orthogonal"] as const)("%s: Infinity beyond the range of numbers, never NaN", (kind) => {
    const drawn: ProjectionDescription = { ...projection, kind };
    const pair: FeatureMapDescription = { version: 1, kind: "trigonometric", variant: "pair", projection: drawn };
    for (const description of exponentialEstimators(drawn).filter(
      (d) => kind === "iid" || d.kind !== "dense-exponential",
    )) {
      for (const length of [40, 1e10, 1e160, 1e300]) {
        expect(kernelVariance(description, axis(length), axis(1.1 * length))).toBe(Infinity);
      }
      for (const bad of [NaN, Infinity]) {
        expect(() => kernelVariance(description, axis(bad), y)).toThrow("x[0]: expected a finite number");
        expect(() => kernelVariance(description, x, axis(bad))).toThrow("y[0]: expected a finite number");
      }
    }
    for (const length of [20, 40, 200, 1e160]) {
      expect(kernelVariance(pair, axis(length), axis(length))).toBe(0);
      expect(kernelVariance({ version: 1, kind: "positive", projection: drawn }, axis(length), axis(-length))).toBe(0);
    }
  });

  it("of trigonometric features, orthogonal rows may have more, at points far apart", () => {
    const [independent, dependent] = [projection, orthogonal].map((drawn) =>
      kernelVariance({ version: 1, kind: "trigonometric", variant: "pair", projection: drawn }, axis(3), axis(-3)),
    );
    expect(dependent).toBeGreaterThan(independent!);
  });

  it("refuses what has no closed form", () => {
    const cases: [FeatureMapDescription, string][] = [
      [{ version: 1, kind: "elu", dim }, "description.kind"],
      [{ version: 1, kind: "positive", projection: { ...projection, kind: "givens" } }, "description.projection"],
      [{ version: 1, kind: "positive", projection: { ...orthogonal, norms: "sqrt-dim" } }, "description.projection"],
      [{ version: 1, kind: "dense-exponential", projection: orthogonal, a: [0, 0, -0.1] }, "description.a"],
    ];
    for (const [description, message] of cases) expect(() => kernelVariance(description, x, y)).toThrow(message);
    expect(() => kernelVariance({ version: 1, kind: "positive", projection }, x, new Float64Array(2))).toThrow("y:");
  });
});
