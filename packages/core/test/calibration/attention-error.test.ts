import { describe, expect, it } from "vitest";
import {
  attentionError,
  calibrate,
  exactSample,
  featuresForError,
  MomentAccumulator,
  selectFeatureMap,
  selectSeed,
} from "../../src/calibration/index.ts";
import type { HeadMoments } from "../../src/calibration/index.ts";
import { createFeatureMap, exactAttention, favorCausalAttention } from "../../src/index.ts";
import type { FeatureMapDescription } from "../../src/index.ts";
import { normals } from "../features/samples.ts";
import type { Sequence } from "./sequences.ts";

describe("attention error", () => {
  const dim = 4;
  const inputs: Sequence[] = [1, 2, 3].map((seed) => ({
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

  it("with negative estimates, misplaced is a distance and no share: trigonometric features exceed 1", () => {
    const projection = { kind: "iid", count: 4, dim, seed: 2 } as const;
    const map = createFeatureMap({ version: 1, kind: "trigonometric", variant: "pair", projection });
    expect(attentionError(map, sample).misplaced).toBeGreaterThan(1);
  });

  it("in causal attention is that of the attention matrices, up to the chance of the values", () => {
    const sequences: Sequence[] = Array.from({ length: 40 }, (_, i) => ({
      query: normals(24 * dim, 2 * i, 0.8),
      key: normals(24 * dim, 2 * i + 1, 0.8),
    }));
    const featureMap = createFeatureMap(calibrate(moments, { count: 16, seed: 0 }));
    let squares = 0;
    let norm = 0;
    const everyValue = Float64Array.from({ length: 24 * 24 }, (_, i) => (i % 25 === 0 ? 1 : 0));
    for (const { query, key } of sequences) {
      const exact = exactAttention(query, key, everyValue, { dim, valueDim: 24, causal: true });
      const estimate = favorCausalAttention(query, key, everyValue, { featureMap, valueDim: 24 });
      squares += exact.reduce((sum, p, i) => sum + (estimate[i]! - p) ** 2, 0);
      norm += exact.reduce((sum, p) => sum + p ** 2, 0);
    }
    const causal = attentionError(featureMap, exactSample(sequences, dim, { causal: true }));
    expect(causal.relative / Math.sqrt(squares / norm)).toBeCloseTo(1, 1);
    expect(causal).not.toHaveProperty("misplaced");
    expect(() => exactSample(inputs, dim, { causal: true })).toThrow("inputs[0].key: expected as many keys as queries");
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
    expect(found.atMost).toBeLessThanOrEqual(0.3);
    expect(found.error).toBeLessThan(found.atMost);
    expect(found.measured.find(({ count }) => count >= found.count / 2)?.atMost).toBeGreaterThan(0.3);
    // Redraws that it did not see.
    const again = Array.from(
      { length: 40 },
      (_, seed) =>
        attentionError(createFeatureMap(calibrate(moments, { count: found.count, seed: seed + 1 })), sample).relative,
    );
    expect(again.reduce((sum, value) => sum + value, 0) / again.length).toBeLessThanOrEqual(0.3);
    expect(() => featuresForError(inputs, 0.1, { dim, draws: 1 })).toThrow("options.draws");
    const never = featuresForError(inputs, 1e-9, { dim, maximum: 32, draws: 2 });
    expect(never).toMatchObject({ reached: false, count: 32 });
    expect(() => featuresForError(inputs, 0, { dim })).toThrow("epsilon");
    expect(() => featuresForError([], 0.1, { dim })).toThrow("inputs");
  });

  it("seed selection takes the best redraw, and says which", () => {
    const square = inputs.map(({ query, key }) => ({ query, key: key.subarray(0, query.length) }));
    for (const causal of [false, true]) {
      const { description, errors } = selectSeed(moments, exactSample(square, dim, { causal }), {
        count: 16,
        seed: 4,
        draws: 8,
      });
      expect(errors.length).toBe(8);
      expect(description.projection).toMatchObject({ seed: 4, epoch: errors.indexOf(Math.min(...errors)) });
    }
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
