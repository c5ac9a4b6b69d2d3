import { describe, expect, it } from "vitest";
import {
  RandomStream,
  createFeatureMap,
  exactAttention,
  exponentialForm,
  favorAttention,
  streamPurpose,
} from "../../src/index.ts";
import { MomentAccumulator, calibrate, fitCore, fitLandmarks, kMeans } from "../../src/calibration/index.ts";
import type { FeatureMap } from "../../src/index.ts";
import type { CoreSystem } from "../../src/calibration/index.ts";
import { addTransposedProduct, multiply, multiplyTransposed } from "../../src/linear-algebra/products.ts";
import { largestDifference } from "../features/differences.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";

const stream = (): RandomStream => new RandomStream({ seed: 1, purpose: streamPurpose.clustering });

describe("kMeans", () => {
  const dim = 2;
  const corners = [
    [0, 0],
    [10, 0],
    [0, 10],
    [10, 10],
  ];
  const points = normals(400 * dim, 5, 0.1).map((value, i) => value + corners[Math.floor(i / dim) % 4]![i % dim]!);

  it("finds well separated clusters", () => {
    const centres = kMeans(points, dim, 4, stream());
    for (const [x, y] of corners) {
      const distances = [0, 1, 2, 3].map((c) => Math.hypot(centres[2 * c]! - x!, centres[2 * c + 1]! - y!));
      expect(Math.min(...distances)).toBeLessThan(0.05);
    }
  });

  it("is deterministic, and a weight of 0 is as if the point were not there", () => {
    expect(kMeans(points, dim, 4, stream())).toEqual(kMeans(points, dim, 4, stream()));
    const weights = new Float64Array(400).map((_, row) => (row % 4 === 3 ? 0 : 1));
    const centres = kMeans(points, dim, 3, stream(), { weights });
    for (let c = 0; c < 3; c++) expect(centres[2 * c]! + centres[2 * c + 1]!).toBeLessThan(11);
  });

  it("repeats centres when there are fewer distinct points, and refuses no points", () => {
    const centres = kMeans(Float64Array.of(1, 2, 1, 2), dim, 3, stream());
    expect(centres).toEqual(Float64Array.of(1, 2, 1, 2, 1, 2));
    expect(() => kMeans(new Float64Array(0), dim, 3, stream())).toThrow("points: expected at least one row");
    expect(() => kMeans(points, dim, 3, stream(), { weights: new Float64Array(1) })).toThrow("weights");
  });
});

function positive(n: number, seed: number): Float64Array {
  return normals(n, seed).map(Math.exp);
}

describe("fitCore", () => {
  const count = 6;
  const phiQuery = positive(50 * count, 1);
  const phiKey = positive(40 * count, 2);
  const gram = (phi: Float64Array): Float64Array => {
    const out = new Float64Array(count * count);
    addTransposedProduct(phi, phi, phi.length / count, count, count, out);
    return out;
  };
  /** The system whose data is Phi_q core Phi_k^T exactly. */
  const systemOf = (core: Float64Array): CoreSystem => {
    const target = multiply(multiply(gram(phiQuery), core, count, count, count), gram(phiKey), count, count, count);
    return {
      count,
      queryGram: gram(phiQuery),
      keyGram: gram(phiKey),
      target,
      norm: core.reduce((sum, value, i) => sum + value * target[i]!, 0),
    };
  };

  it("comes to an exact non-negative fit where there is one", () => {
    const core = positive(count * count, 3);
    const fit = fitCore(systemOf(core), { iterations: 20_000, tolerance: 0 });
    expect(fit.residual).toBeLessThan(1e-5);
    expect(fit.core.every((value) => value >= 0)).toBe(true);
  });

  it("meets the conditions of Kuhn and Tucker where the free optimum is negative", () => {
    const core = normals(count * count, 4);
    const system = systemOf(core);
    // Positive data is what the updates are for: lift the targets that a negative core made negative.
    const lifted = { ...system, target: system.target.map((value) => Math.max(value, 1e-3)) };
    const fit = fitCore(lifted, { iterations: 20_000, tolerance: 0 });
    const prediction = multiply(
      multiply(system.queryGram, fit.core, count, count, count),
      system.keyGram,
      count,
      count,
      count,
    );
    const scale = Math.max(...lifted.target);
    for (let i = 0; i < count * count; i++) {
      const gradient = (prediction[i]! - lifted.target[i]!) / scale;
      expect(gradient).toBeGreaterThan(-2e-3);
      expect(Math.abs(gradient * fit.core[i]!)).toBeLessThan(2e-3);
    }
  });

  it("stops by its rule, and never gets worse with more updates", () => {
    const system = systemOf(positive(count * count, 3));
    const residuals = [1, 2, 5, 20, 100].map((iterations) => fitCore(system, { iterations, tolerance: 0 }).residual);
    for (let i = 1; i < residuals.length; i++) expect(residuals[i]!).toBeLessThanOrEqual(residuals[i - 1]!);
    expect(fitCore(system, { tolerance: 1 }).iterations).toBe(1);
    expect(fitCore(system, { tolerance: 1e-3 }).iterations).toBeLessThan(
      fitCore(system, { tolerance: 1e-6 }).iterations,
    );
  });

  it("refuses other sizes and nothing to fit", () => {
    const system = systemOf(positive(count * count, 3));
    expect(() => fitCore({ ...system, target: new Float64Array(1) })).toThrow("system.target: expected 36 values");
    expect(() => fitCore({ ...system, target: new Float64Array(36) })).toThrow("nothing to fit");
  });
});

function mean(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

describe("fitLandmarks", () => {
  const dim = 8;
  const count = 32;
  const train = sequences(20, 40, 1000);
  const accumulator = new MomentAccumulator(dim);
  for (const { query, key } of train) accumulator.add(query, key);
  const moments = accumulator.moments();
  const landmarks = fitLandmarks(train, moments, { count, seed: 0 });

  function outputError(featureMap: FeatureMap): number {
    let error = 0;
    for (const [i, { query, key }] of sequences(5, 40, 5000).entries()) {
      const value = normals(40 * dim, 9000 + i);
      const exact = exactAttention(query, key, value, { dim });
      const out = favorAttention(query, key, value, { featureMap });
      error += out.reduce((sum, x, at) => sum + (x - exact[at]!) ** 2, 0);
    }
    return error;
  }

  it("meets the attention of unseen inputs far better than calibrated random features of the same width", () => {
    const random = [0, 1, 2].map((seed) => outputError(createFeatureMap(calibrate(moments, { count, seed }))));
    expect(outputError(createFeatureMap(landmarks))).toBeLessThan(0.5 * Math.min(...random));
  });

  it("is deterministic, plain JSON, and a map like the others", () => {
    expect(fitLandmarks(train, moments, { count, seed: 0 })).toEqual(landmarks);
    expect(fitLandmarks(train, moments, { count, seed: 1 })).not.toEqual(landmarks);
    const again = createFeatureMap(JSON.parse(JSON.stringify(landmarks)) as typeof landmarks);
    const { query, key } = train[0]!;
    expect(again.key(key)).toEqual(createFeatureMap(landmarks).key(key));
    const map = createFeatureMap(landmarks);
    const stabilized = map.keyStabilized(key, { scope: "row" });
    const restored = stabilized.features.map(
      (value, i) => value * Math.exp(stabilized.logScale[Math.floor(i / count)]!),
    );
    expect(largestDifference(restored.map(Math.log), map.key(key).map(Math.log))).toBeLessThan(1e-10);
    expect(map.query(query).every((value) => value > 0)).toBe(true);
  });

  it("estimates exp(q.k) itself, not only up to a factor", () => {
    const mild = sequences(20, 40, 1000, 0.3);
    const mildMoments = new MomentAccumulator(dim);
    for (const { query, key } of mild) mildMoments.add(query, key);
    const map = createFeatureMap(fitLandmarks(mild, mildMoments.moments(), { count, seed: 0 }));
    const { query, key } = sequences(1, 40, 6000, 0.3)[0]!;
    const exact = multiplyTransposed(query, key, 40, dim, 40).map(Math.exp);
    const estimate = multiplyTransposed(map.query(query), map.key(key), 40, count, 40);
    expect(mean(estimate) / mean(exact)).toBeGreaterThan(0.85);
    expect(mean(estimate) / mean(exact)).toBeLessThan(1.1);
  });

  it("its form follows from the description alone: no norms, non-negative core, weights on the query side", () => {
    const form = exponentialForm(landmarks);
    expect(form.subtractNorms).toBe(false);
    expect(form.core?.every((value) => value >= 0)).toBe(true);
    expect(() => exponentialForm({ ...landmarks, core: landmarks.core.map((value) => -value) })).toThrow("no negative");
    expect(() => exponentialForm({ ...landmarks, logWeight: [1] })).toThrow("description.logWeight: expected 32");
  });

  it("takes inputs of different lengths, of different queries and keys, long ones and empty ones", () => {
    const mixed = [...sequences(2, 300, 1), ...sequences(3, 5, 2), { query: new Float64Array(0), key: train[0]!.key }];
    mixed.push({ query: train[0]!.query.subarray(0, dim), key: train[1]!.key });
    const fitted = createFeatureMap(fitLandmarks(mixed, moments, { count: 16, seed: 0 }));
    expect(fitted.query(train[0]!.query).every(Number.isFinite)).toBe(true);
  });

  it("refuses no inputs, other widths and values that are not finite", () => {
    expect(() => fitLandmarks([], moments, { count, seed: 0 })).toThrow("inputs: expected at least one input");
    const short = { query: new Float64Array(3), key: train[0]!.key };
    expect(() => fitLandmarks([short], moments, { count, seed: 0 })).toThrow("inputs[0].query: expected [rows, 8]");
    const spoiled = { query: train[0]!.query.map((v, i) => (i === 5 ? NaN : v)), key: train[0]!.key };
    expect(() => fitLandmarks([spoiled], moments, { count, seed: 0 })).toThrow("inputs[0].query[5]");
  });
});
