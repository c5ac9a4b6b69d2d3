import { describe, expect, it } from "vitest";
import {
  attentionError,
  exactSample,
  fitLandmarks,
  MomentAccumulator,
  refineLandmarks,
  selectSeed,
} from "../../src/calibration/index.ts";
import { fadingPrediction } from "../../src/calibration/fading-prediction.ts";
import { createFeatureMap, exactAttention, favorAlibiAttention } from "../../src/index.ts";
import type { FeatureMapDescription } from "../../src/index.ts";
import { multiply, multiplyTransposed, transpose } from "../../src/linear-algebra/products.ts";
import { relativeError } from "../attention/samples.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";

const dim = 8;
const train = sequences(10, 90, 1000);
const test = sequences(4, 90, 2000);
const accumulator = new MomentAccumulator(dim);
for (const { query, key } of train) accumulator.add(query, key);
const moments = accumulator.moments();
const options = { count: 16, seed: 0 };

/** |out_hat - out| / |out| of attention to Gaussian values. */
function outputError(description: FeatureMapDescription, slope: number, causal: boolean): number {
  const featureMap = createFeatureMap(description);
  let squares = 0;
  let norm = 0;
  for (const [i, { query, key }] of test.entries()) {
    const value = normals(key.length, 700 + i);
    const exact = exactAttention(query, key, value, { dim, causal, slope });
    const estimate = favorAlibiAttention(query, key, value, { featureMap, slope, causal });
    for (let at = 0; at < exact.length; at++) {
      squares += (estimate[at]! - exact[at]!) ** 2;
      norm += exact[at]! ** 2;
    }
  }
  return Math.sqrt(squares / norm);
}

const positive = (n: number, seed: number): Float64Array => normals(n, seed).map(Math.exp);

it("predicts attention that fades, by its definition", () => {
  const [count, queries, keys] = [5, 12, 20];
  const phiQuery = positive(queries * count, 1);
  const phiKey = positive(keys * count, 2);
  const core = positive(count * count, 3);
  const fade = Float64Array.from({ length: queries * keys }, (_, at) =>
    Math.exp(-0.3 * Math.abs(Math.floor(at / keys) - (at % keys))),
  );
  const entries = multiplyTransposed(multiply(phiQuery, core, queries, count, count), phiKey, queries, count, keys);
  const faded = entries.map((entry, at) => entry * fade[at]! ** 2);
  const expected = multiply(
    transpose(phiQuery, queries, count),
    multiply(faded, phiKey, queries, keys, count),
    count,
    queries,
    count,
  );
  expect(relativeError(fadingPrediction([{ phiQuery, phiKey, fade }], count)(core), expected)).toBeLessThan(1e-12);
});

describe.each([
  { causal: false, slope: 0.03 },
  { causal: false, slope: 0.3 },
  { causal: true, slope: 0.03 },
  { causal: true, slope: 0.3 },
])("with the slope $slope, causal: $causal", ({ causal, slope }) => {
  const sample = exactSample(test, dim, { causal, slope });
  const errorOf = (description: FeatureMapDescription): number =>
    attentionError(createFeatureMap(description), sample).relative;
  const plain = fitLandmarks(train, moments, options);
  const fitted = fitLandmarks(train, moments, { ...options, causal, slope });

  it("the error is that of outputs", () => {
    expect(errorOf(fitted) / outputError(fitted, slope, causal)).toBeCloseTo(1, 0);
  });

  it("landmarks are nearer than those that know of no slope", () => {
    expect(errorOf(fitted)).toBeLessThan(errorOf(plain));
  });

  it("refinement brings them nearer still, or not much further", () => {
    const refined = refineLandmarks(fitted, train, { seed: 0, steps: 30, causal, slope });
    expect(errorOf(refined)).toBeLessThan(1.05 * errorOf(fitted));
  });

  it("draws are compared as they will be used", () => {
    const { errors } = selectSeed(moments, sample, { ...options, draws: 3 });
    expect(new Set(errors).size).toBe(3);
  });
});

it("names what does not fit", () => {
  const unequal = [{ query: train[0]!.query, key: train[0]!.key.subarray(dim) }];
  expect(() => fitLandmarks(unequal, moments, { ...options, slope: 0.1 })).toThrow("inputs[0].key:");
  expect(() => exactSample(unequal, dim, { slope: 0.1 })).toThrow("inputs[0].key:");
  expect(() => fitLandmarks(train, moments, { ...options, slope: 0.1, exactKeys: { window: 8 } })).toThrow(
    "options.exactKeys:",
  );
});
