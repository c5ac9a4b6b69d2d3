import { describe, expect, it } from "vitest";
import { createFeatureMap, hybridAttention } from "../../src/index.ts";
import {
  fitCore,
  fitLandmarks,
  hybridError,
  hybridSample,
  hybridSamples,
  landmarkFitter,
  MomentAccumulator,
} from "../../src/calibration/index.ts";
import { remainderPrediction } from "../../src/calibration/remainder.ts";
import { addTransposedProduct, multiply, multiplyTransposed } from "../../src/linear-algebra/products.ts";
import { relativeError } from "../attention/samples.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";

const dim = 8;
const exactKeys = { window: 8, chosenBlocks: 2 };
const train = sequences(6, 120, 1);
const test = sequences(3, 120, 50);
const accumulator = new MomentAccumulator(dim);
for (const { query, key } of train) accumulator.add(query, key);
const moments = accumulator.moments();

const positive = (n: number, seed: number) => normals(n, seed).map(Math.exp);

describe("the prediction of what exact keys leave out", () => {
  const count = 5;
  const [queries, keys] = [12, 30];
  const input = (seed: number) => ({
    phiQuery: positive(queries * count, seed),
    phiKey: positive(keys * count, seed + 1),
    exact: Array.from({ length: queries }, (_, i) => (i === 3 ? [] : [0, 1, i + 2, i + 9])),
    attended: Uint32Array.from({ length: queries }, (_, i) => keys - Math.floor(i / 2)),
  });

  // Rows of a block of queries share their exact keys; in causal attention no two rows do.
  const byBlock = [
    [0, 3, 20, 24],
    [5, 6],
  ];
  const shared = (seed: number) => ({
    ...input(seed),
    exact: Array.from({ length: queries }, (_, i) => byBlock[i < 7 ? 0 : 1]!),
    attended: new Uint32Array(queries).fill(keys),
  });

  it.each([
    ["of each row", input],
    ["of several rows", shared],
  ])("is its definition, with weights of 0 and 1, for exact keys %s", (_, made) => {
    const inputs = [made(1), made(3)];
    const core = positive(count * count, 5);
    const expected = new Float64Array(count * count);
    for (const { phiQuery, phiKey, exact, attended } of inputs) {
      const joined = multiply(phiQuery, core, queries, count, count);
      const masked = multiplyTransposed(joined, phiKey, queries, count, keys).map((weight, at) => {
        const [i, j] = [Math.floor(at / keys), at % keys];
        const ranges = exact[i]!;
        const inside = ranges.some((from, r) => r % 2 === 0 && j >= from && j < ranges[r + 1]!);
        return inside || j >= attended[i]! ? 0 : weight;
      });
      addTransposedProduct(phiQuery, multiply(masked, phiKey, queries, keys, count), queries, count, count, expected);
    }
    const predicted = remainderPrediction(inputs, count)(core);
    expect(
      relativeError(
        predicted.map((x) => 2 * x),
        expected,
      ),
    ).toBeLessThan(1e-12);
  });

  it("lets the fit come to a core that explains the remainder exactly", () => {
    const inputs = [input(7)];
    const truth = positive(count * count, 9);
    const predict = remainderPrediction(inputs, count);
    const gram = new Float64Array(count * count);
    const target = predict(truth);
    const norm = truth.reduce((sum, value, i) => sum + value * target[i]!, 0);
    const system = { count, queryGram: gram, keyGram: gram, target, norm, predict };
    const fit = fitCore(system, { iterations: 20_000, tolerance: 0 });
    expect(relativeError(predict(fit.core), target)).toBeLessThan(1e-3);
  });
});

describe("landmarks fitted to the remainder", () => {
  it.each([false, true])("serve hybrid attention better than those fitted to everything, causal: %s", (causal) => {
    const sample = hybridSample(test, dim, { exactKeys, causal });
    const errorOf = (options: object) =>
      hybridError(createFeatureMap(fitLandmarks(train, moments, { count: 16, seed: 1, ...options })), sample);
    const everything = errorOf({});
    const remainder = errorOf({ exactKeys, causal });
    const dropped = hybridError(undefined, sample);
    expect(remainder.relative).toBeLessThan(0.9 * everything.relative);
    expect(remainder.relative).toBeLessThan(0.8 * dropped.relative);
    expect(Math.abs(remainder.farShare - sample.remaining)).toBeLessThan(0.1 * sample.remaining);
  });

  it("are the same if one sample serves several numbers of features", () => {
    const options = { seed: 1, exactKeys };
    const fitted = landmarkFitter(train, moments, options);
    for (const count of [8, 4]) expect(fitted(count)).toEqual(fitLandmarks(train, moments, { ...options, count }));
  });

  it("are the same every time, and refuse inputs of which nothing remains", () => {
    const options = { count: 4, seed: 1, exactKeys };
    expect(fitLandmarks(train, moments, options)).toEqual(fitLandmarks(train, moments, options));
    const short = sequences(2, 14, 3);
    expect(() => fitLandmarks(short, moments, options)).toThrow("All keys of all 2 inputs are exact");
    const plain = { count: 4, seed: 1 };
    expect(fitLandmarks(train, moments, { ...plain, causal: true })).toEqual(fitLandmarks(train, moments, plain));
  });
});

describe("the error of hybrid attention", () => {
  const description = fitLandmarks(train, moments, { count: 8, seed: 1, exactKeys });
  const featureMap = createFeatureMap(description);

  it.each([
    [false, featureMap],
    [true, featureMap],
    [false, undefined],
  ] as const)("is that of hybridAttention's own matrix, causal: %s", (causal, map) => {
    const [input] = test;
    const rows = 120;
    // with the identity as values, attention gives its matrix
    const value = Float64Array.from({ length: rows * rows }, (_, i) => (i % (rows + 1) === 0 ? 1 : 0));
    const all = { dim, valueDim: rows, ...exactKeys, causal };
    const exact = hybridAttention(input!.query, input!.key, value, { ...all, window: rows, chosenBlocks: 0 });
    const actual = hybridAttention(input!.query, input!.key, value, { ...all, ...(map && { featureMap: map }) });
    let [squares, norm] = [0, 0];
    for (const [i, p] of exact.entries()) {
      squares += (actual[i]! - p) ** 2;
      norm += p ** 2;
    }
    const { relative } = hybridError(map, hybridSample([input!], dim, { exactKeys, causal }));
    expect(relative).toBeCloseTo(Math.sqrt(squares / norm), 10);
  });

  it.each([false, true])("is the same on a sample that several candidates share, causal: %s", (causal) => {
    const candidates = [{ window: 8 }, exactKeys, { window: 8, chosenBlocks: 3 }, { window: 200 }];
    const samples = hybridSamples(test, dim, candidates, { causal });
    for (const [i, candidate] of candidates.entries()) {
      // Rows are those of blocks of the widest candidate.
      const all = hybridSamples(test, dim, [candidate, { window: 200 }], { causal })[0]!;
      expect(samples[i]!.remaining).toBe(all.remaining);
      expect(hybridError(featureMap, samples[i]!)).toEqual(hybridError(featureMap, all));
    }
    expect(() => hybridSamples(test, dim, [])).toThrow("candidates");
  });

  it("is 0 if all keys are exact", () => {
    const sample = hybridSample(test, dim, { exactKeys: { window: 200 } });
    expect(sample).toMatchObject({ inputs: [], remaining: 0 });
    expect(hybridError(undefined, sample)).toEqual({ relative: 0, misplaced: 0, farShare: 0 });
  });
});
