import { describe, expect, it } from "vitest";
import { alibiLinearAttention } from "../../src/attention/alibi.ts";
import { startFavor } from "../../src/attention/causal-favor.ts";
import { favorAlibiAttention } from "../../src/attention/favor-alibi.ts";
import { exactAttention } from "../../src/attention/exact.ts";
import { createFeatureMap } from "../../src/features/create.ts";
import { relativeError, Sampler } from "./samples.ts";

const dim = 6;
const valueDim = 4;
const rows = 70;
const featureMap = createFeatureMap({
  version: 1,
  kind: "positive",
  projection: { kind: "orthogonal", count: 32, dim, seed: 3 },
});
const sampler = new Sampler(5);
const query = sampler.normals(rows * dim, 0.7);
const key = sampler.normals(rows * dim, 0.7);
const value = sampler.normals(rows * valueDim).map((x) => x + 1);
const keyMask = Array.from({ length: rows }, (_, i) => (i % 7 === 2 || i > 55 ? 0 : 1));
const options = { featureMap, valueDim };

/** sum_j w_ij v_j / sum_j w_ij with every w_ij = exp(-m |i - j|) phi(q_i).phi(k_j) written out. */
function dense(slope: number, causal: boolean, mask: readonly number[]): Float64Array {
  const [phiQuery, phiKey] = [featureMap.query(query), featureMap.key(key)];
  const { count } = featureMap;
  const out = new Float64Array(rows * valueDim);
  for (let i = 0; i < rows; i++) {
    let normaliser = 0;
    for (let j = 0; j < (causal ? i + 1 : rows); j++) {
      let weight = mask[j]! * Math.exp(-slope * Math.abs(i - j));
      let product = 0;
      for (let m = 0; m < count; m++) product += phiQuery[i * count + m]! * phiKey[j * count + m]!;
      weight *= product;
      normaliser += weight;
      for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! += weight * value[j * valueDim + c]!;
    }
    if (normaliser > 0) for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! /= normaliser;
  }
  return out;
}

const all = Array.from({ length: rows }, () => 1);

/** Rows in the opposite order. */
const reversed = (x: Float64Array, width: number): Float64Array =>
  x.map((_, i) => x[(x.length / width - 1 - Math.floor(i / width)) * width + (i % width)]!);

const exact = (slope: number, causal: boolean) => exactAttention(query, key, value, { dim, valueDim, slope, causal });
/** Attention with every weight written out. */
const written = (slope: number, causal: boolean): Float64Array => {
  const out = new Float64Array(rows * valueDim);
  for (let i = 0; i < rows; i++) {
    const weights = Array.from({ length: causal ? i + 1 : rows }, (_, j) => {
      let logit = -slope * Math.abs(i - j);
      for (let l = 0; l < dim; l++) logit += query[i * dim + l]! * key[j * dim + l]!;
      return Math.exp(logit);
    });
    const total = weights.reduce((a, b) => a + b, 0);
    for (const [j, weight] of weights.entries()) {
      for (let c = 0; c < valueDim; c++) out[i * valueDim + c]! += (weight / total) * value[j * valueDim + c]!;
    }
  }
  return out;
};

describe.each([0.002, 0.1, 1.5])("FAVOR with the slope %d", (slope) => {
  it.each([{ mask: all }, { mask: keyMask }])("is that of every weight written out", ({ mask }) => {
    const favor = { ...options, slope, keyMask: mask };
    for (const causal of [false, true]) {
      const found = favorAlibiAttention(query, key, value, { ...favor, causal });
      expect(relativeError(found, dense(slope, causal, mask))).toBeLessThan(1e-12);
    }
  });

  it("streams: a prefix, then token by token, equals one pass", () => {
    const full = favorAlibiAttention(query, key, value, { ...options, slope, causal: true, keyMask });
    const state = startFavor(featureMap, valueDim);
    for (let from = 0, to = 17; from < rows; from = to, to++) {
      const part = favorAlibiAttention(
        query.subarray(from * dim, to * dim),
        key.subarray(from * dim, to * dim),
        value.subarray(from * valueDim, to * valueDim),
        { ...options, slope, causal: true, state, keyMask: keyMask.slice(from, to) },
      );
      expect(relativeError(part, full.subarray(from * valueDim, to * valueDim))).toBeLessThan(1e-10);
    }
  });

  it("sees no later key, to the bit", () => {
    const before = favorAlibiAttention(query, key, value, { ...options, slope, causal: true });
    const changed = key.map((x, i) => (i >= 40 * dim ? 5 * x : x));
    const after = favorAlibiAttention(query, changed, value, { ...options, slope, causal: true });
    expect(after.subarray(0, 40 * valueDim)).toEqual(before.subarray(0, 40 * valueDim));
  });

  it("gives reversed rows for reversed rows", () => {
    const there = favorAlibiAttention(query, key, value, { ...options, slope });
    const back = favorAlibiAttention(reversed(query, dim), reversed(key, dim), reversed(value, valueDim), {
      ...options,
      slope,
    });
    expect(relativeError(reversed(back, valueDim), there)).toBeLessThan(1e-12);
  });

  it("is what exact attention becomes with many features", () => {
    const many = createFeatureMap({
      version: 1,
      kind: "positive",
      projection: { kind: "orthogonal", count: 16_384, dim, seed: 1 },
    });
    const [q, k] = [query, key].map((x) => x.map((entry) => 0.5 * entry)) as [Float64Array, Float64Array];
    const expected = exactAttention(q, k, value, { dim, valueDim, slope, keyMask });
    const estimate = favorAlibiAttention(q, k, value, { featureMap: many, valueDim, slope, keyMask });
    expect(relativeError(estimate, expected)).toBeLessThan(0.05);
  });
});

it("stays finite over 65,536 rows of any weight", () => {
  const length = 65_536;
  const long = { query: new Float64Array(length).fill(1), key: new Float64Array(length).fill(1) };
  const keyLogScale = Float64Array.from({ length }, (_, j) => 300 * Math.sin(j));
  const values = Float64Array.from({ length }, (_, j) => Math.cos(j));
  const shape = { heads: 1, queryRows: length, keyRows: length, count: 1, valueDim: 1 };
  for (const causal of [false, true]) {
    const out = alibiLinearAttention({ ...long, keyLogScale, value: values }, shape, { slopes: [0.7], causal });
    expect(out.every((x) => Math.abs(x) <= 1)).toBe(true);
  }
});

it("adds -m |i - j| to exact logits", () => {
  for (const causal of [false, true])
    expect(relativeError(exact(0.3, causal), written(0.3, causal))).toBeLessThan(1e-12);
});

it("names what does not fit", () => {
  expect(() => favorAlibiAttention(query, key, value, { ...options, slope: -1 })).toThrow("options.slope:");
  expect(() => favorAlibiAttention(query.subarray(dim), key, value, { ...options, slope: 1 })).toThrow(
    "shape.keyRows:",
  );
  const state = startFavor(featureMap, valueDim);
  expect(() => favorAlibiAttention(query, key, value, { ...options, slope: 1, state })).toThrow("options.state:");
  expect(() => exactAttention(query, key, value, { dim, valueDim, slope: Number.NaN })).toThrow("options.slope:");
});
