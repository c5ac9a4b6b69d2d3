import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { favorAttention } from "../../../src/attention/bidirectional.ts";
import { favorCausalAttention } from "../../../src/attention/causal-favor.ts";
import { causalLinearAttention } from "../../../src/attention/causal.ts";
import { exactAttention } from "../../../src/attention/exact.ts";
import { linearAttention } from "../../../src/attention/linear.ts";
import { exactAttention32 } from "../../../src/attention/tiled/exact.ts";
import { favorAttention32 } from "../../../src/attention/tiled/favor.ts";
import { elementwiseFeatures32, exponentialFeatures32 } from "../../../src/attention/tiled/features.ts";
import type { AttentionShape } from "../../../src/attention/tiled/rows.ts";
import { ArgumentError } from "../../../src/errors.ts";
import { createFeatureMap } from "../../../src/features/create.ts";
import { exponentialFeatureMap } from "../../../src/features/exponential-form.ts";
import type { ExponentialForm } from "../../../src/features/exponential-form.ts";
import type { BlockKernels } from "../../../src/kernels/block-kernels.ts";
import { createKernels } from "../../../src/kernels/create.ts";
import { runnableKernels } from "../../kernels/engine.ts";
import { relativeError, Sampler } from "../samples.ts";

interface Case {
  group: number;
  keyHeads: number;
  queryRows: number;
  keyRows: number;
  dim: number;
  valueDim: number;
  count: number;
  masked: boolean;
  seed: number;
}
const cases = fc.record({
  group: fc.integer({ min: 1, max: 3 }),
  keyHeads: fc.integer({ min: 1, max: 2 }),
  queryRows: fc.integer({ min: 0, max: 150 }),
  keyRows: fc.integer({ min: 0, max: 300 }),
  dim: fc.integer({ min: 1, max: 20 }),
  valueDim: fc.integer({ min: 1, max: 20 }),
  count: fc.integer({ min: 1, max: 30 }),
  masked: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

function draw(s: Case, scale = 1) {
  const sampler = new Sampler(s.seed);
  const heads = s.group * s.keyHeads;
  const { keyHeads, queryRows, keyRows, dim, valueDim } = s;
  const shape: AttentionShape = { heads, keyHeads, queryRows, keyRows, dim, valueDim };
  return {
    shape,
    sampler,
    query: Float32Array.from(sampler.normals(heads * queryRows * dim, scale)),
    key: Float32Array.from(sampler.normals(keyHeads * keyRows * dim, scale)),
    // around 3, so that averages of them do not cancel and a relative error speaks of the kernels
    value: Float32Array.from(sampler.normals(keyHeads * keyRows * valueDim), (x) => x + 3),
    options: s.masked ? { keyMask: Array.from({ length: keyRows }, () => maskValue(sampler.uniform())) } : {},
  };
}

function maskValue(u: number): number {
  if (u < 0.4) return 0;
  return u < 0.8 ? 1 : u;
}

function headOf(array: Float32Array, head: number, size: number): Float64Array {
  return Float64Array.from(array.subarray(head * size, (head + 1) * size));
}

/** Each query head by a float64 function of one head. */
function perHead(
  { query, key, value, shape }: ReturnType<typeof draw>,
  attend: (q: Float64Array, k: Float64Array, v: Float64Array, keyHead: number) => Float64Array,
): Float64Array {
  const { heads, keyHeads = heads, queryRows, keyRows, dim, valueDim = dim } = shape;
  const out = new Float64Array(heads * queryRows * valueDim);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor((head * keyHeads) / heads);
    const result = attend(
      headOf(query, head, queryRows * dim),
      headOf(key, keyHead, keyRows * dim),
      headOf(value, keyHead, keyRows * valueDim),
      keyHead,
    );
    out.set(result, head * queryRows * valueDim);
  }
  return out;
}

/** An exponential form with every part in use. */
function form(sampler: Sampler, dim: number, count: number, kind: "plain" | "full" | "core"): ExponentialForm {
  const identity = Float64Array.from({ length: dim * dim }, (_, i) => (i % (dim + 1) === 0 ? 1 : 0));
  const near = () => identity.map((x) => x + (0.2 * sampler.normal()) / dim);
  const plain = kind === "plain";
  const zeros = new Float64Array(dim);
  return {
    dim,
    count,
    queryMean: plain ? zeros : sampler.normals(dim),
    queryMatrix: plain ? identity : near(),
    keyMean: plain ? zeros : sampler.normals(dim),
    keyMatrix: plain ? identity : near(),
    keyWeight: plain ? zeros : sampler.normals(dim, 0.3),
    queryProjection: sampler.normals(count * dim),
    keyProjection: sampler.normals(count * dim),
    logWeight: plain ? new Float64Array(count) : sampler.normals(count),
    subtractNorms: kind !== "core",
    ...(kind === "core" && { core: sampler.positives(count * count) }),
  };
}

/** FAVOR in float64 by the reference's feature map and algebra. */
function reference(sample: ReturnType<typeof draw>, forms: readonly ExponentialForm[], causal: boolean): Float64Array {
  const { queryRows, keyRows, dim, valueDim = dim } = sample.shape;
  return perHead(sample, (q, k, v, keyHead) => {
    const one = forms[keyHead]!;
    const map = exponentialFeatureMap({} as Parameters<typeof exponentialFeatureMap>[0], one);
    const { features, logScale } = map.keyStabilized(k, { scope: "row" });
    const input = { query: map.queryStabilized(q).features, key: features, keyLogScale: logScale, value: v };
    const shape = { heads: 1, queryRows, keyRows, count: one.count, valueDim };
    return (causal ? causalLinearAttention : linearAttention)({ ...input, ...sample.options }, shape);
  });
}

/** The relative error of each kind of kernels against one expected result, which takes longer to compute than theirs. */
function errors(expected: Float64Array, attend: (kernels: BlockKernels) => Float32Array): number[] {
  return allKernels.map((kernels) => relativeError(attend(kernels), expected));
}
const allKernels = runnableKernels.map((simd) => createKernels({ simd }));

describe("float32 attention against float64, with all kernels", () => {
  it("exact, bidirectional", () => {
    fc.assert(
      fc.property(cases, (s) => {
        const sample = draw(s, 1.5);
        const { query, key, value, shape, options } = sample;
        const expected = perHead(sample, (q, k, v) =>
          exactAttention(q, k, v, { dim: s.dim, valueDim: s.valueDim, scale: 0.5, ...options }),
        );
        const attend32 = (kernels: BlockKernels) =>
          exactAttention32(kernels, query, key, value, shape, { scale: 0.5, ...options });
        expect(Math.max(...errors(expected, attend32))).toBeLessThan(1e-5);
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it("exact, causal, with as many keys as queries or more", () => {
    fc.assert(
      fc.property(cases, (s) => {
        const sample = draw({ ...s, keyRows: s.queryRows + (s.keyRows % 3) * 50 });
        const { query, key, value, shape } = sample;
        const options = { ...sample.options, causal: true };
        const expected = perHead(sample, (q, k, v) =>
          exactAttention(q, k, v, { dim: s.dim, valueDim: s.valueDim, ...options }),
        );
        const attend32 = (kernels: BlockKernels) => exactAttention32(kernels, query, key, value, shape, options);
        expect(Math.max(...errors(expected, attend32))).toBeLessThan(1e-5);
      }),
      { numRuns: 40, seed: 2 },
    );
  });

  it.each([
    ["plain", false],
    ["plain", true],
    ["full", false],
    ["full", true],
    ["core", false],
    ["core", true],
  ] as const)("FAVOR, %s map, causal: %s", (kind, causal) => {
    fc.assert(
      fc.property(cases, (s) => {
        const sample = draw(causal ? { ...s, keyRows: s.queryRows } : s, 0.6);
        const { query, key, value, shape, options } = sample;
        const forms = Array.from({ length: s.keyHeads }, () => form(sample.sampler, s.dim, s.count, kind));
        const features = forms.map((each) => exponentialFeatures32(each));
        const attend32 = (kernels: BlockKernels) =>
          favorAttention32(kernels, query, key, value, shape, features, { ...options, causal });
        expect(Math.max(...errors(reference(sample, forms, causal), attend32))).toBeLessThan(1e-5);
      }),
      { numRuns: 40, seed: 3 },
    );
  });

  it.each([
    ["relu", false],
    ["relu", true],
    ["sigmoid", false],
    ["elu", true],
    ["squared-relu", false],
    ["squared-relu", true],
    ["exp-half-square", false],
    ["exp-half-square", true],
    ["exp-minus-half-square", true],
  ] as const)("FAVOR, elementwise %s, causal: %s", (kind, causal) => {
    fc.assert(
      fc.property(cases, (s) => {
        const sample = draw(causal ? { ...s, keyRows: s.queryRows } : s, 0.6);
        const { query, key, value, shape, options } = sample;
        const { dim, count, seed } = s;
        const projection = { kind: "orthogonal", count, dim, seed } as const;
        const description =
          kind === "relu" || kind === "sigmoid"
            ? ({ version: 1, kind: "generalized", function: kind, projection } as const)
            : kind === "elu" || kind === "squared-relu"
              ? ({ version: 1, kind, dim } as const)
              : ({ version: 1, kind: "generalized", function: "relu", keyFactor: kind, projection } as const);
        const featureMap = createFeatureMap(description);
        const attend = causal ? favorCausalAttention : favorAttention;
        const root = Math.sqrt(0.7);
        const expected = perHead(sample, (q, k, v) =>
          attend(
            q.map((x) => x * root),
            k.map((x) => x * root),
            v,
            { featureMap, valueDim: s.valueDim, ...options },
          ),
        );
        const features = elementwiseFeatures32(description, { scale: 0.7 });
        const attend32 = (kernels: BlockKernels) =>
          favorAttention32(kernels, query, key, value, shape, features, { ...options, causal });
        expect(Math.max(...errors(expected, attend32))).toBeLessThan(1e-5);
      }),
      { numRuns: 25, seed: 4 },
    );
  });
});

describe.each(runnableKernels)("float32 attention, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  it("folds the scale of q.k in", () => {
    const sample = draw({
      group: 1,
      keyHeads: 1,
      queryRows: 9,
      keyRows: 12,
      dim: 8,
      valueDim: 5,
      count: 7,
      masked: false,
      seed: 3,
    });
    const { query, key, value, shape } = sample;
    const one = form(sample.sampler, 8, 7, "full");
    const root = Math.sqrt(0.3);
    const scaled = { ...sample, query: query.map((x) => x * root), key: key.map((x) => x * root) };
    const features = exponentialFeatures32(one, { scale: 0.3 });
    const actual = favorAttention32(kernels, query, key, value, shape, features);
    expect(relativeError(actual, reference(scaled, [one], false))).toBeLessThan(1e-5);
  });

  it.each([false, true])("survives log features that exp cannot represent, causal: %s", (causal) => {
    for (const slope of [3, -3]) {
      const rows = 130;
      const sample = draw({
        group: 1,
        keyHeads: 1,
        queryRows: rows,
        keyRows: rows,
        dim: 4,
        valueDim: 3,
        count: 6,
        masked: false,
        seed: 4,
      });
      // keys whose log features rise or fall by some hundreds along the sequence
      for (let j = 0; j < rows; j++) for (let l = 0; l < 4; l++) sample.key[j * 4 + l] = slope * (j - 60) + l;
      const one = { ...form(sample.sampler, 4, 6, "plain"), subtractNorms: false };
      const { query, key, value, shape } = sample;
      const actual = favorAttention32(kernels, query, key, value, shape, exponentialFeatures32(one), { causal });
      expect(relativeError(actual, reference(sample, [one], causal))).toBeLessThan(1e-4);
    }
  });

  it("causal: earlier rows keep their bits whatever comes later, for any size of it", () => {
    const rows = 150;
    for (const [kind, from] of [
      ["plain", 100],
      ["full", 77],
      ["core", 3],
    ] as const) {
      const sample = draw({
        group: 2,
        keyHeads: 1,
        queryRows: rows,
        keyRows: rows,
        dim: 6,
        valueDim: 5,
        count: 9,
        masked: true,
        seed: 9,
      });
      const { query, key, value, shape, options, sampler } = sample;
      const features = exponentialFeatures32(form(sampler, 6, 9, kind));
      const run = (k: Float32Array, v: Float32Array) =>
        favorAttention32(kernels, query, k, v, shape, features, { ...options, causal: true });
      const before = run(key, value);
      for (const future of [50, -50, 1e4, Number.NaN]) {
        const after = run(key.slice().fill(future, from * 6), value.slice().fill(future, from * 5));
        for (const head of [0, 1]) {
          const start = head * rows * 5;
          expect(after.subarray(start, start + from * 5)).toEqual(before.subarray(start, start + from * 5));
        }
        expect(after).not.toEqual(before);
      }
    }
  });

  it.each([false, true])("hidden keys may hold anything; all hidden gives 0; causal: %s", (causal) => {
    const sample = draw({
      group: 1,
      keyHeads: 2,
      queryRows: 70,
      keyRows: 70,
      dim: 3,
      valueDim: 2,
      count: 4,
      masked: true,
      seed: 6,
    });
    const { query, key, value, shape, sampler } = sample;
    const keyMask = sample.options.keyMask!;
    const dirtyKey = key.map((x, i) => (keyMask[Math.floor(i / 3) % 70] === 0 ? Number.NaN : x));
    const dirtyValue = value.map((x, i) => (keyMask[Math.floor(i / 2) % 70] === 0 ? Infinity : x));
    const features = exponentialFeatures32(form(sampler, 3, 4, "full"));
    const none = new Uint8Array(70);
    for (const attend of [
      (k: Float32Array, v: Float32Array, mask: ArrayLike<number>) =>
        favorAttention32(kernels, query, k, v, shape, features, { keyMask: mask, causal }),
      (k: Float32Array, v: Float32Array, mask: ArrayLike<number>) =>
        exactAttention32(kernels, query, k, v, shape, { keyMask: mask, causal }),
    ]) {
      expect(attend(dirtyKey, dirtyValue, keyMask)).toEqual(attend(key, value, keyMask));
      expect(attend(key, value, none)).toEqual(new Float32Array(2 * 70 * 2));
    }
  });

  it("NaN in a query stays in its row, NaN in a key reaches every row", () => {
    const sample = draw({
      group: 1,
      keyHeads: 1,
      queryRows: 5,
      keyRows: 5,
      dim: 3,
      valueDim: 2,
      count: 4,
      masked: false,
      seed: 7,
    });
    const { query, key, value, shape, sampler } = sample;
    const features = exponentialFeatures32(form(sampler, 3, 4, "plain"));
    for (const attend of [
      (q: Float32Array, k: Float32Array) => favorAttention32(kernels, q, k, value, shape, features),
      (q: Float32Array, k: Float32Array) => exactAttention32(kernels, q, k, value, shape),
    ]) {
      const clean = attend(query, key);
      const dirtyQuery = query.slice().fill(Number.NaN, 6, 7);
      const out = attend(dirtyQuery, key);
      expect(out).toEqual(clean.slice().fill(Number.NaN, 4, 6));
      expect(attend(query, key.slice().fill(Number.NaN, 4, 5)).every(Number.isNaN)).toBe(true);
    }
  });

  it("names bad arguments", () => {
    const q = new Float32Array(8);
    const shape = { heads: 2, queryRows: 2, keyRows: 2, dim: 2 };
    const features = exponentialFeatures32(form(new Sampler(1), 2, 3, "plain"));
    const bad: [string, () => unknown][] = [
      ["query", () => exactAttention32(kernels, q.subarray(1), q, q, shape)],
      ["value", () => favorAttention32(kernels, q, q, q, { ...shape, valueDim: 3 }, features)],
      ["shape.keyHeads", () => exactAttention32(kernels, q, q, q, { ...shape, keyHeads: 3 })],
      ["keyMask", () => exactAttention32(kernels, q, q, q, shape, { keyMask: [1] })],
      ["keyMask[0]", () => favorAttention32(kernels, q, q, q, shape, features, { keyMask: [-1, 1] })],
      ["options.scale", () => exactAttention32(kernels, q, q, q, shape, { scale: Number.NaN })],
      ["options.scale", () => exponentialFeatures32(form(new Sampler(1), 2, 3, "plain"), { scale: 0 })],
      ["features", () => favorAttention32(kernels, q, q, q, shape, [features])],
      [
        "features[0].dim",
        () => favorAttention32(kernels, q, q, q, { ...shape, dim: 1, queryRows: 4, keyRows: 4, valueDim: 1 }, features),
      ],
    ];
    for (const [name, call] of bad) {
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(`${name}:`);
    }
    const cross = () =>
      favorAttention32(kernels, q.subarray(4), q, q, { ...shape, queryRows: 1 }, features, { causal: true });
    expect(cross).toThrow("shape.keyRows:");
  });
});
