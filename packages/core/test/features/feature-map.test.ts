import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  exponentialForm,
  generalizedFeatureMap,
  linearExponential,
  trigonometricForm,
} from "../../src/index.ts";
import type { FeatureMapDescription, ProjectionDescription } from "../../src/index.ts";
import { relativeDifference } from "./differences.ts";
import { exponentialEstimators, normals } from "./samples.ts";

const dim = 4;
const projection: ProjectionDescription = { kind: "orthogonal", count: 6, dim, seed: 1 };
const all: FeatureMapDescription[] = [
  ...exponentialEstimators(projection),
  { version: 1, kind: "generalized", projection, function: "relu" },
  { version: 1, kind: "generalized", projection, function: "softplus", epsilon: 0 },
  { version: 1, kind: "elu", dim },
  { version: 1, kind: "squared-relu", dim },
];

describe.each(all.map((description) => [description.kind, description] as const))("%s", (_, description) => {
  const map = createFeatureMap(description);
  const x = normals(5 * dim, 2);

  it("survives JSON, and its rows do not depend on each other", () => {
    const again = createFeatureMap(JSON.parse(JSON.stringify(description)) as FeatureMapDescription);
    expect(again.query(x)).toEqual(map.query(x));
    expect(again.key(x)).toEqual(map.key(x));
    expect(map.query(x).length).toBe(5 * map.count);
    expect(map.key(x.subarray(dim, 2 * dim))).toEqual(map.key(x).subarray(map.count, 2 * map.count));
    expect(map.query(new Float64Array(0)).length).toBe(0);
  });

  it("stabilised features times exp(logScale) are the features", () => {
    const query = map.queryStabilized(x);
    expect(query.logScale.length).toBe(5);
    expect(
      relativeDifference(
        query.features.map((value, i) => value * Math.exp(query.logScale[Math.floor(i / map.count)]!)),
        map.query(x),
      ),
    ).toBeLessThan(1e-12);
    const key = map.keyStabilized(x);
    expect(key.logScale.length).toBe(1);
    expect(
      relativeDifference(
        key.features.map((value) => value * Math.exp(key.logScale[0]!)),
        map.key(x),
      ),
    ).toBeLessThan(1e-12);
    const perRow = map.keyStabilized(x, { scope: "row" });
    expect(
      relativeDifference(
        perRow.features.map((value, i) => value * Math.exp(perRow.logScale[Math.floor(i / map.count)]!)),
        map.key(x),
      ),
    ).toBeLessThan(1e-12);
  });

  it("a stabiliser per row never looks at another key; hidden keys get 0 and do not move the common one", () => {
    const first = map.keyStabilized(x.subarray(0, 2 * dim), { scope: "row" });
    const longer = map.keyStabilized(x, { scope: "row" });
    expect(longer.features.subarray(0, 2 * map.count)).toEqual(first.features);
    expect(longer.logScale.subarray(0, 2)).toEqual(first.logScale);

    const padded = Float64Array.from(x);
    padded.fill(NaN, 2 * dim, 3 * dim);
    padded.fill(30, 3 * dim);
    const mask = [1, 1, 0, 0, 0];
    const hidden = map.keyStabilized(padded, { mask });
    const alone = map.keyStabilized(x.subarray(0, 2 * dim));
    expect(hidden.logScale).toEqual(alone.logScale);
    expect(hidden.features.subarray(0, 2 * map.count)).toEqual(alone.features);
    expect(hidden.features.subarray(2 * map.count).every((value) => value === 0)).toBe(true);
    const perRow = map.keyStabilized(padded, { scope: "row", mask });
    expect(Array.from(perRow.logScale.subarray(2))).toEqual([-Infinity, -Infinity, -Infinity]);
    expect(perRow.features.subarray(2 * map.count).every((value) => value === 0)).toBe(true);
  });

  it("NaN in a row gives NaN there and nowhere else", () => {
    const spoiled = Float64Array.from(x);
    spoiled[dim] = NaN;
    const clean = map.keyStabilized(x.subarray(0, dim));
    for (const features of [map.queryStabilized(spoiled).features, map.keyStabilized(spoiled).features]) {
      expect(features.subarray(map.count, 2 * map.count).some(Number.isNaN)).toBe(true);
      expect(features.subarray(0, map.count).some(Number.isNaN)).toBe(false);
    }
    expect(clean.features.some(Number.isNaN)).toBe(false);
  });

  it("refuses x of another width, and a mask of another length", () => {
    expect(() => map.query(new Float64Array(dim + 1))).toThrow("x: expected [rows, 4] values");
    expect(() => map.keyStabilized(x, { mask: [1] })).toThrow("mask: expected 5 values");
  });
});

describe.each(exponentialEstimators(projection).map((d) => [d.kind, d] as const))(
  "%s, huge norms",
  (_, description) => {
    it("neither over- nor underflows when stabilised", () => {
      const map = createFeatureMap(description);
      const x = normals(5 * dim, 2, 300);
      for (const { features, logScale } of [map.queryStabilized(x), map.keyStabilized(x, { scope: "row" })]) {
        expect(features.every(Number.isFinite)).toBe(true);
        expect(logScale.every(Number.isFinite)).toBe(true);
        for (let row = 0; row < 5; row++) {
          const largest = Math.max(...features.subarray(row * map.count, (row + 1) * map.count).map(Math.abs));
          expect(largest).toBeGreaterThan(0.01);
        }
      }
      expect(map.keyStabilized(x).features.every(Number.isFinite)).toBe(true);
    });
  },
);

describe("closed forms", () => {
  const x = Float64Array.of(0.3, -0.2, 0.5, 0.1);
  const norm = x.reduce((sum, value) => sum + value * value, 0);

  it("positive: exp(w.x - |x|^2/2) / sqrt(M), weights on the key side", () => {
    const form = exponentialForm({ version: 1, kind: "positive", projection });
    const map = createFeatureMap({ version: 1, kind: "positive", projection });
    const expected = Float64Array.from({ length: 6 }, (_, m) => {
      let wx = 0;
      for (let l = 0; l < dim; l++) wx += form.queryProjection[m * dim + l]! * x[l]!;
      return Math.exp(wx - norm / 2);
    });
    expect(relativeDifference(map.query(x), expected)).toBeLessThan(1e-12);
    expect(
      relativeDifference(
        map.key(x),
        expected.map((value) => value / 6),
      ),
    ).toBeLessThan(1e-12);
  });

  it("dense-exponential with a = 0 and OPRF with a = 0 are FAVOR+", () => {
    const positive = createFeatureMap({ version: 1, kind: "positive", projection });
    expect(createFeatureMap({ version: 1, kind: "oprf", projection, a: 0 }).key(x)).toEqual(positive.key(x));
    const dense: FeatureMapDescription = { version: 1, kind: "dense-exponential", projection, a: [0, 0, 0, 0] };
    expect(createFeatureMap(dense).key(x)).toEqual(positive.key(x));
  });

  it("the sin/cos pair of a query with itself gives exp(|x|^2) exactly", () => {
    const map = createFeatureMap({ version: 1, kind: "trigonometric", variant: "pair", projection });
    const phi = map.query(x);
    expect(phi.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(Math.exp(norm), 12);
    const form = trigonometricForm({ version: 1, kind: "trigonometric", variant: "phase", projection });
    expect(form.phase?.every((b) => b >= 0 && b < 2 * Math.PI)).toBe(true);
    expect(form.scale).toBeCloseTo(Math.sqrt(2 / 6), 15);
  });

  it("generalized: f(w.x) + epsilon over sqrt(M), f by name or given", () => {
    const description: FeatureMapDescription = { version: 1, kind: "generalized", projection, function: "relu" };
    const { queryProjection } = exponentialForm({ version: 1, kind: "positive", projection });
    const expected = Float64Array.from({ length: 6 }, (_, m) => {
      let wx = 0;
      for (let l = 0; l < dim; l++) wx += queryProjection[m * dim + l]! * x[l]!;
      return (Math.max(wx, 0) + 1e-3) / Math.sqrt(6);
    });
    expect(relativeDifference(createFeatureMap(description).query(x), expected)).toBeLessThan(1e-12);
    expect(
      relativeDifference(
        generalizedFeatureMap(description, { value: () => 2 }).query(x),
        new Float64Array(6).fill(2.001 / Math.sqrt(6)),
      ),
    ).toBeLessThan(1e-12);
  });

  it("ELU + 1 and squared ReLU", () => {
    expect(
      relativeDifference(
        createFeatureMap({ version: 1, kind: "elu", dim }).key(x),
        Float64Array.of(1.3, Math.exp(-0.2), 1.5, 1.1),
      ),
    ).toBeLessThan(1e-12);
    expect(
      relativeDifference(
        createFeatureMap({ version: 1, kind: "squared-relu", dim }).key(x),
        Float64Array.of(0.09, 0, 0.25, 0.01),
      ),
    ).toBeLessThan(1e-14);
  });

  it("linear-exponential restores any form without a core", () => {
    const description: FeatureMapDescription = { version: 1, kind: "oprf", projection, a: -0.2 };
    const learned = linearExponential(exponentialForm(description));
    expect(createFeatureMap(learned).key(x)).toEqual(createFeatureMap(description).key(x));
    expect(createFeatureMap(learned).query(x)).toEqual(createFeatureMap(description).query(x));
  });
});

describe("bad descriptions", () => {
  it.each([
    [{ version: 2, kind: "positive", projection }, "written by a newer @favor/core"],
    [{ kind: "positive", projection }, "description.version"],
    [{ version: 1, kind: "positive", projection: { ...projection, count: -1 } }, "projection.count"],
    [{ version: 1, kind: "dense-exponential", projection, a: [0] }, "description.a: expected 4 values"],
    [{ version: 1, kind: "oprf", projection, a: 0.2 }, "below 1/8"],
    [{ version: 1, kind: "generalized", projection, function: "sine" }, "description.function"],
    [{ version: 1, kind: "generalized", projection, function: "relu", epsilon: -1 }, "description.epsilon"],
    [{ version: 1, kind: "unheard-of", projection }, "description.kind"],
    [{ version: 1, kind: "elu", dim: 0 }, "description.dim"],
  ])("%o", (description, message) => {
    expect(() => createFeatureMap(description as FeatureMapDescription)).toThrow(message);
  });

  it("exponentialForm of another family", () => {
    expect(() => exponentialForm({ version: 1, kind: "elu", dim })).toThrow("an exponential feature map");
  });
});
