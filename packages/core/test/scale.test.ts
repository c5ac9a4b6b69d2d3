import { describe, expect, it } from "vitest";
import { attentionError, exactSample, hybridError, hybridSample } from "../src/calibration/index.ts";
import { lshAttention, sparseAttention } from "../src/comparison/index.ts";
import {
  createFeatureMap,
  createKernels,
  exactAttention,
  exactAttention32,
  exactAttentionBackward32,
  exponentialFeatures32,
  exponentialForm,
  favorAlibiAttention,
  favorAttention,
  favorAttention32,
  favorCausalAttention,
  hybridAttention,
  hybridAttention32,
  hybridAttentionBackward32,
  trigonometricFeatures32,
} from "../src/index.ts";
import { relativeError } from "./attention/samples.ts";
import { dotRows, normals } from "./features/samples.ts";

const [length, dim] = [48, 4];
/** What a layer computes, and what the functions take: the same times d^(-1/4). */
const layer = { query: normals(length * dim, 1, 0.7), key: normals(length * dim, 2, 0.7) };
const [query, key] = [layer.query.map((x) => x * dim ** -0.25), layer.key.map((x) => x * dim ** -0.25)];
const value = normals(length * dim, 3);

/** softmax(Q K^T / sqrt(d)) V of what the layer computes, from its definition. */
function definition(causal: boolean): Float64Array {
  const out = new Float64Array(length * dim);
  for (let i = 0; i < length; i++) {
    let normaliser = 0;
    for (let j = 0; j < (causal ? i + 1 : length); j++) {
      const weight = Math.exp(dotRows(layer.query, layer.key, i, j, dim) / Math.sqrt(dim));
      normaliser += weight;
      for (let c = 0; c < dim; c++) out[i * dim + c]! += weight * value[j * dim + c]!;
    }
    for (let c = 0; c < dim; c++) out[i * dim + c]! /= normaliser;
  }
  return out;
}
const expected = definition(false);
const expectedCausal = definition(true);
/** What an estimate may be off by: far less than a wrong scale is. */
const near = 0.12;

const projection = { kind: "orthogonal", count: 4096, dim, seed: 1 } as const;
const bounded = { version: 1, kind: "oprf", projection, a: -0.2 } as const;
const pair = { version: 1, kind: "trigonometric", variant: "pair", projection } as const;
const featureMap = createFeatureMap(bounded);
const features = exponentialFeatures32(exponentialForm(bounded));
const kernels = createKernels({ simd: "off" });
const [q32, k32, v32] = [query, key, value].map((array) => Float32Array.from(array)) as [
  Float32Array,
  Float32Array,
  Float32Array,
];
const shape = { heads: 1, queryRows: length, keyRows: length, dim };
const all = { window: length };

describe("one convention for scale: q and k come times d^(-1/4), and scale defaults to 1", () => {
  it.each<[string, () => ArrayLike<number>]>([
    ["exactAttention", () => exactAttention(query, key, value, { dim })],
    ["exactAttention32", () => exactAttention32(kernels, q32, k32, v32, shape)],
    ["hybridAttention, all exact", () => hybridAttention(query, key, value, { dim, ...all })],
    ["hybridAttention32, all exact", () => hybridAttention32(kernels, q32, k32, v32, shape, undefined, all)],
    [
      "sparseAttention, one block",
      () => sparseAttention(query, key, value, { dim, causal: false, pattern: { kind: "fixed", stride: length } }),
    ],
  ])("%s is softmax attention", (_name, attend) => {
    expect(relativeError(attend(), expected)).toBeLessThan(1e-5);
  });

  it.each<[string, () => ArrayLike<number>]>([
    ["favorAttention", () => favorAttention(query, key, value, { featureMap })],
    ["favorAttention32", () => favorAttention32(kernels, q32, k32, v32, shape, features)],
    ["trigonometricFeatures32", () => favorAttention32(kernels, q32, k32, v32, shape, trigonometricFeatures32(pair))],
    ["favorAlibiAttention", () => favorAlibiAttention(query, key, value, { featureMap, slope: 0 })],
    [
      "hybridAttention",
      () => hybridAttention(query, key, value, { dim, featureMap, near: false, window: 8, chosenBlocks: 1 }),
    ],
    [
      "hybridAttention32",
      () => hybridAttention32(kernels, q32, k32, v32, shape, features, { near: false, window: 8, chosenBlocks: 1 }),
    ],
  ])("%s estimates it", (_name, attend) => {
    expect(relativeError(attend(), expected)).toBeLessThan(near);
  });

  it("a factor of sqrt(d) more or less would be noticed", () => {
    for (const scale of [dim ** 0.5, dim ** -0.5]) {
      expect(relativeError(exactAttention(query, key, value, { dim, scale }), expected)).toBeGreaterThan(2 * near);
    }
  });

  it("causal attention, too", () => {
    const exact = exactAttention(query, key, value, { dim, causal: true });
    expect(relativeError(exact, expectedCausal)).toBeLessThan(1e-12);
    expect(relativeError(favorCausalAttention(query, key, value, { featureMap }), expectedCausal)).toBeLessThan(near);
  });

  it("the samples of calibration are on it", () => {
    const inputs = [{ query, key }];
    expect(attentionError(featureMap, exactSample(inputs, dim)).relative).toBeLessThan(near);
    expect(hybridError(featureMap, hybridSample(inputs, dim)).relative).toBeLessThan(near);
  });

  it("a scale of d^(-1/2) takes what a layer computes", () => {
    const [q, k] = [Float32Array.from(layer.query), Float32Array.from(layer.key)];
    const scale = dim ** -0.5;
    const scaled = exponentialFeatures32(exponentialForm(bounded), { scale });
    for (const out of [
      exactAttention(layer.query, layer.key, value, { dim, scale }),
      exactAttention32(kernels, q, k, v32, shape, { scale }),
      hybridAttention32(kernels, q, k, v32, shape, undefined, { ...all, scale }),
    ]) {
      expect(relativeError(out, expected)).toBeLessThan(1e-5);
    }
    const estimate = favorAttention32(kernels, q, k, v32, shape, scaled);
    expect(relativeError(estimate, favorAttention(query, key, value, { featureMap }))).toBeLessThan(1e-4);
  });

  it("lshAttention, whose keys are normalised, takes what a layer computes with a scale of d^(-1/4)", () => {
    const hashing = { dim, seed: 1 };
    const out = lshAttention(query, value, hashing);
    expect(relativeError(lshAttention(layer.query, value, { ...hashing, scale: dim ** -0.25 }), out)).toBeLessThan(
      1e-12,
    );
    expect(relativeError(lshAttention(layer.query, value, { ...hashing, scale: dim ** -0.5 }), out)).toBeGreaterThan(
      1e-3,
    );
  });

  it("gradients are those of the same default", () => {
    const exact = exactAttentionBackward32(kernels, q32, k32, v32, shape, v32);
    expect(exactAttentionBackward32(kernels, q32, k32, v32, shape, v32, { scale: 1 })).toEqual(exact);
    const hybrid = hybridAttentionBackward32(kernels, q32, k32, v32, shape, undefined, v32, all);
    for (const name of ["query", "key", "value"] as const) {
      expect(relativeError(hybrid[name], exact[name])).toBeLessThan(1e-5);
    }
  });
});
