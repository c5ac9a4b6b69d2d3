import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttention32,
  createKernels,
  linearExponential,
} from "../../src/index.ts";
import {
  MomentAccumulator,
  attentionError,
  calibrate,
  exactSample,
  fitFeatureCore,
  fitLandmarks,
} from "../../src/calibration/index.ts";
import type { FeatureMapDescription } from "../../src/index.ts";
import { multiplyTransposed } from "../../src/linear-algebra/products.ts";
import { relativeError } from "../attention/samples.ts";
import { normals } from "../features/samples.ts";
import { sequences } from "./sequences.ts";

const dim = 8;
const count = 16;
const train = sequences(20, 40, 1000, 0.3);
const [input] = sequences(1, 40, 6000, 0.3);
const unseen = exactSample(sequences(5, 40, 5000, 0.3), dim);
const accumulator = new MomentAccumulator(dim);
for (const { query, key } of train) accumulator.add(query, key);
const moments = accumulator.moments();
const errorOf = (description: FeatureMapDescription) => attentionError(createFeatureMap(description), unseen).relative;
const positive = (seed: number) =>
  ({ version: 1, kind: "positive", projection: { kind: "orthogonal", count, dim, seed } }) as const;

function total(array: Float64Array): number {
  return array.reduce((a, b) => a + b, 0);
}

describe("fitFeatureCore", () => {
  it("brings random features nearer to the attention of unseen inputs", () => {
    const errors = [0, 1, 2]
      .flatMap((seed) => [positive(seed), calibrate(moments, { count, seed })])
      .map((random) => [errorOf(random), errorOf(fitFeatureCore(random, train, { seed: 0 }))] as const);
    expect(errors.every(([before, after]) => after < before)).toBe(true);
    const sumOf = (which: 0 | 1) => errors.reduce((sum, each) => sum + each[which], 0);
    expect(sumOf(1)).toBeLessThan(0.9 * sumOf(0));
  });

  it("finds the core of landmarks anew", () => {
    const landmarks = fitLandmarks(train, moments, { count, seed: 0 });
    const again = createFeatureMap(fitFeatureCore(landmarks, train, { seed: 0 }));
    const value = normals(40 * dim, 3);
    const { query, key } = input!;
    const expected = favorAttention(query, key, value, { featureMap: createFeatureMap(landmarks) });
    expect(relativeError(favorAttention(query, key, value, { featureMap: again }), expected)).toBeLessThan(1e-6);
  });

  it("is deterministic, plain JSON, and a map like the others, in float32 too", () => {
    const fitted = fitFeatureCore(positive(0), train, { seed: 0 });
    expect(fitFeatureCore(positive(0), train, { seed: 0 })).toEqual(fitted);
    const restored = JSON.parse(JSON.stringify(fitted)) as typeof fitted;
    expect(restored.core!.every((x) => x >= 0 && x < Infinity)).toBe(true);
    const value = normals(40 * dim, 3);
    const { query, key } = input!;
    const expected = favorAttention(query, key, value, { featureMap: createFeatureMap(restored) });
    const [q, k, v] = [query, key, value].map((array) => Float32Array.from(array));
    const shape = { heads: 1, queryRows: 40, keyRows: 40, dim };
    const actual = favorAttention32(
      ...([createKernels(), q!, k!, v!, shape, exponentialFeatures32(exponentialForm(restored))] as const),
    );
    expect(relativeError(actual, expected)).toBeLessThan(1e-5);
  });

  it("estimates exp(q.k) itself, whatever weights the features had", () => {
    const weighted = { ...linearExponential(exponentialForm(positive(1))), logWeight: Array.from(normals(count, 8)) };
    const { query, key } = input!;
    const estimate = (description: FeatureMapDescription) => {
      const map = createFeatureMap(description);
      return multiplyTransposed(map.query(query), map.key(key), 40, count, 40);
    };
    const [plain, fitted] = [
      estimate(fitFeatureCore(positive(1), train, { seed: 0 })),
      estimate(fitFeatureCore(weighted, train, { seed: 0 })),
    ];
    expect(relativeError(fitted, plain)).toBeLessThan(1e-6);
    const exact = multiplyTransposed(query, key, 40, dim, 40).map(Math.exp);
    expect(total(fitted) / total(exact)).toBeGreaterThan(0.6);
    expect(total(fitted) / total(exact)).toBeLessThan(1.2);
  });

  it("gets by without a feature that vanishes beside the others", () => {
    const plain = linearExponential(exponentialForm(positive(2)));
    const away = { ...plain, logWeight: plain.logWeight.map((w, m) => (m === 3 ? -1e4 : w)) };
    const featureMap = createFeatureMap(fitFeatureCore(away, train, { seed: 0 }));
    const { query, key } = input!;
    const out = favorAttention(query, key, normals(40 * dim, 3), { featureMap });
    expect(out.every(Number.isFinite)).toBe(true);
    expect(attentionError(featureMap, unseen).relative).toBeLessThan(errorOf(positive(2)));
  });

  it("refuses kinds without an exponential form, other widths and no inputs", () => {
    const elu = { version: 1, kind: "elu", dim } as const;
    expect(() => fitFeatureCore(elu, train, { seed: 0 })).toThrow("description.kind");
    expect(() => fitFeatureCore(positive(0), [], { seed: 0 })).toThrow("inputs: expected at least one input");
    const short = { query: new Float64Array(3), key: input!.key };
    expect(() => fitFeatureCore(positive(0), [short], { seed: 0 })).toThrow("inputs[0].query: expected [rows, 8]");
    const negative = {
      ...fitFeatureCore(positive(0), train, { seed: 0 }),
      core: Array.from({ length: count ** 2 }, () => -1),
    };
    expect(() => createFeatureMap(negative)).toThrow("no negative");
  });
});
