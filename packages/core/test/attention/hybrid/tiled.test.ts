import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  averagedQueries,
  createFeatureMap,
  createKernels,
  exactAttention32,
  favorAttention32,
  hybridAttention,
  hybridAttention32,
  hybridAttentionBackward32,
  keyDeviations,
} from "../../../src/index.ts";
import type {
  BlockKernels,
  ExactKeysOptions,
  FeatureMap,
  FeatureMapDescription,
  HybridOptions32,
} from "../../../src/index.ts";
import { runnableKernels } from "../../kernels/engine.ts";
import { differences, draw, features32, gradientError, kinds, single } from "../float64-gradients.ts";
import type { Sample, Size } from "../float64-gradients.ts";
import { relativeError } from "../samples.ts";

const allKernels = runnableKernels.map((simd) => createKernels({ simd }));
const exponential = { positive: kinds.positive, calibrated: kinds.calibrated, landmark: kinds.landmark };
const scale = 0.7;

function part(array: ArrayLike<number>, index: number, size: number, factor: number): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => array[index * size + i]! * factor);
}

/** The reference, head by head; q and k take the root of the scale, as the reference wants them. */
function reference(
  { query, key, value }: { readonly [name in "query" | "key" | "value"]: ArrayLike<number> },
  { heads, keyHeads, queryRows, keyRows, dim, valueDim }: Sample["shape"],
  maps: readonly FeatureMap[] | undefined,
  { scale: _scale, ...options }: HybridOptions32 & ExactKeysOptions,
): Float64Array {
  const root = Math.sqrt(scale);
  const out = new Float64Array(heads * queryRows * valueDim);
  for (let head = 0; head < heads; head++) {
    const keyHead = Math.floor((head * keyHeads) / heads);
    const result = hybridAttention(
      part(query, head, queryRows * dim, root),
      part(key, keyHead, keyRows * dim, root),
      part(value, keyHead, keyRows * valueDim, 1),
      { ...options, dim, valueDim, ...(maps && { featureMap: maps[keyHead]! }) },
    );
    out.set(result, head * queryRows * valueDim);
  }
  return out;
}

function describeHeads(kind: keyof typeof exponential, size: Size): FeatureMapDescription[] {
  return Array.from({ length: size.keyHeads }, (_, head) => exponential[kind]({ ...size, seed: size.seed + head }));
}

const sizes = fc.record({
  group: fc.integer({ min: 1, max: 2 }),
  keyHeads: fc.integer({ min: 1, max: 2 }),
  queryRows: fc.constantFrom(0, 1, 2, 17, 64, 90, 150),
  keyRows: fc.constantFrom(1, 3, 64, 150),
  dim: fc.constantFrom(1, 2, 7, 8, 19),
  valueDim: fc.constantFrom(1, 3, 8, 11),
  count: fc.constantFrom(1, 5, 8, 26),
  masked: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});
const choices = fc.record({
  window: fc.constantFrom(1, 3, 8, 16, 70, 200),
  chosenBlocks: fc.constantFrom(0, 0, 1, 3, 100),
  choice: fc.constantFrom("averaged", "deviations", "candidates"),
});

describe.each(Object.keys(exponential) as (keyof typeof exponential)[])(
  "float32 hybrid attention, %s features",
  (kind) => {
    it.each(["both ways", "causal", "cross"] as const)("equals its float64 definition with all kernels, %s", (mode) => {
      fc.assert(
        fc.property(sizes, choices, fc.boolean(), (size, { choice, ...exact }, dropped) => {
          const keyRows = mode === "cross" ? size.keyRows : size.queryRows;
          const sample = draw({ ...size, keyRows }, mode === "causal", 0.7);
          const { query, key, value, shape } = sample;
          const near = mode !== "cross";
          if (!near && dropped && exact.chosenBlocks === 0) return;
          const directions = Float64Array.from({ length: size.dim }, (_, l) => (l === size.seed % size.dim ? 1 : 0));
          const deviations = keyDeviations({ directions, group: 8 });
          const candidates = { selector: deviations, count: 5 };
          const selector =
            choice === "deviations"
              ? deviations
              : averagedQueries({ group: 8, ...(choice === "candidates" && { candidates }) });
          const options = { ...sample.options, ...exact, near, scale, selector };
          const descriptions = describeHeads(kind, size);
          const features = dropped ? undefined : descriptions.map((each) => features32(each, scale));
          const expected = reference(sample, shape, dropped ? undefined : descriptions.map(createFeatureMap), options);
          for (const kernels of allKernels) {
            const actual = hybridAttention32(kernels, query, key, value, shape, features, options);
            expect(relativeError(actual, expected)).toBeLessThan(2e-5);
          }
        }),
        { numRuns: 25, seed: 1 },
      );
    });

    it.each([false, true])("has the gradients of its float64 definition, by differences, causal: %s", (causal) => {
      for (const [window, chosenBlocks, dropped] of [
        [2, 0, false],
        [2, 1, false],
        [3, 100, false],
        [2, 1, true],
      ] as const) {
        const size = { ...single, group: 2, queryRows: 11, keyRows: 11 };
        const sample = draw(size, causal, 0.6);
        const { query, key, value, shape, gradient } = sample;
        const options = { ...sample.options, window, chosenBlocks, scale };
        const descriptions = describeHeads(kind, size);
        const maps = dropped ? undefined : descriptions.map(createFeatureMap);
        const expected = differences(sample, (q, k, v) =>
          reference({ query: q, key: k, value: v }, shape, maps, options),
        );
        const features = dropped ? undefined : descriptions.map((each) => features32(each, scale));
        expect(expected.query.some((x) => x !== 0)).toBe(true);
        for (const kernels of allKernels) {
          const actual = hybridAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
          expect(gradientError(actual, expected, sample, "exact")).toBeLessThan(2e-5);
        }
      }
    });
  },
);

describe("float32 hybrid attention", () => {
  const size: Size = {
    ...single,
    group: 1,
    keyHeads: 2,
    queryRows: 150,
    keyRows: 150,
    dim: 7,
    valueDim: 3,
    masked: false,
  };
  const sample = draw(size, false, 0.7);
  const { query, key, value, shape, gradient } = sample;
  const [description] = describeHeads("landmark", size);
  const features = features32(description!, scale);
  const kernels = createKernels({ simd: "strict" });
  const attend = (options: HybridOptions32, by: BlockKernels = kernels) =>
    hybridAttention32(by, query, key, value, shape, features, { scale, ...options });

  it.each([false, true])("equals exact attention if all keys are exact, and FAVOR if none is, causal: %s", (causal) => {
    const exact = exactAttention32(kernels, query, key, value, shape, { scale, causal });
    expect(relativeError(attend({ window: 200, causal }), exact)).toBeLessThan(1e-6);
    expect(relativeError(attend({ window: 16, chosenBlocks: 100, causal }), exact)).toBeLessThan(1e-6);
    const favor = favorAttention32(kernels, query, key, value, shape, features, { causal });
    expect(attend({ window: 0, causal })).toEqual(favor);
  });

  it("equals FAVOR if blocks are there, and none is exact", () => {
    const favor = favorAttention32(kernels, query, key, value, shape, features);
    expect(relativeError(attend({ window: 16, near: false }), favor)).toBeLessThan(1e-6);
  });

  it("keeps rows from later ones to the bit, backward too", () => {
    const options = { window: 8, chosenBlocks: 2, causal: true, scale };
    const full = hybridAttention32(kernels, query, key, value, shape, features, options);
    const changed = [query, key, value].map((array) => array.slice());
    const from = 77;
    for (const [array, width] of [
      [changed[0]!, 7],
      [changed[1]!, 7],
      [changed[2]!, 3],
    ] as const) {
      for (let head = 0; head < 2; head++) {
        for (let i = (head * 150 + from) * width; i < (head + 1) * 150 * width; i++) array[i] = 5 * Math.sin(i);
      }
    }
    const other = hybridAttention32(kernels, changed[0]!, changed[1]!, changed[2]!, shape, features, options);
    for (let head = 0; head < 2; head++) {
      const rows = (array: Float32Array) => array.subarray(head * 150 * 3, (head * 150 + from) * 3);
      expect(rows(other)).toEqual(rows(full));
    }
    const early = gradient.map((g, i) => (Math.floor(i / 3) % 150 < from ? g : 0));
    const first = hybridAttentionBackward32(kernels, query, key, value, shape, features, early, options);
    const second = hybridAttentionBackward32(
      kernels,
      changed[0]!,
      changed[1]!,
      changed[2]!,
      shape,
      features,
      early,
      options,
    );
    for (let head = 0; head < 2; head++) {
      const rows = (array: Float32Array) => array.subarray(head * 150 * 7, (head * 150 + from) * 7);
      expect(rows(second.query)).toEqual(rows(first.query));
    }
  });

  it("does not depend on padding, whatever it holds, backward too", () => {
    const options = { window: 16, chosenBlocks: 2, scale };
    const before = attend(options);
    const gradients = hybridAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
    const rows = 171;
    const pad = (array: Float32Array, width: number, filler = NaN) => {
      const padded = new Float32Array(2 * rows * width).fill(filler);
      for (let head = 0; head < 2; head++) {
        padded.set(array.subarray(head * 150 * width, (head + 1) * 150 * width), head * rows * width);
      }
      return padded;
    };
    const cut = (array: Float32Array, width: number, head: number) =>
      array.subarray(head * rows * width, (head * rows + 150) * width);
    const keyMask = Array.from({ length: rows }, (_, i) => (i < 150 ? 1 : 0));
    const wide = { ...shape, queryRows: rows, keyRows: rows };
    const arrays = [pad(query, 7), pad(key, 7), pad(value, 3)] as const;
    const after = hybridAttention32(kernels, ...arrays, wide, features, { ...options, keyMask });
    const padded = hybridAttentionBackward32(
      kernels,
      pad(query, 7, 50),
      arrays[1],
      arrays[2],
      wide,
      features,
      pad(gradient, 3, 0),
      { ...options, keyMask },
    );
    for (let head = 0; head < 2; head++) {
      expect(relativeError(cut(after, 3, head), before.subarray(head * 450, (head + 1) * 450))).toBeLessThan(1e-6);
      const expected = gradients.value.subarray(head * 450, (head + 1) * 450);
      expect(relativeError(cut(padded.value, 3, head), expected)).toBeLessThan(1e-5);
    }
  });

  it.each([20, 60])("neither over- nor underflows for logits of hundreds, magnitude %s", (magnitude) => {
    const large = draw({ ...size, dim: 8, valueDim: 3 }, false, Math.sqrt(magnitude));
    const positive = kinds.positive({ ...size, dim: 8 });
    const options = { window: 8, chosenBlocks: 3, scale };
    const { query: q, key: k, value: v, shape: s, gradient: g } = large;
    for (const by of allKernels) {
      const out = hybridAttention32(by, q, k, v, s, features32(positive, scale), options);
      const expected = reference(large, s, [createFeatureMap(positive), createFeatureMap(positive)], options);
      // a choice between blocks of nearly equal score may differ in single rows
      const wrong = expected.filter((x, i) => !(Math.abs(out[i]! - x) < 2e-3));
      expect(out.every(Number.isFinite)).toBe(true);
      expect(wrong.length).toBeLessThan(0.02 * expected.length);
      const d = hybridAttentionBackward32(by, q, k, v, s, features32(positive, scale), g, options);
      for (const array of Object.values<Float32Array>({ ...d })) expect(array.every(Number.isFinite)).toBe(true);
    }
  });

  it("a far key of large estimate that is chosen does not cancel the rest", () => {
    // Key 100 is estimated e^60 times larger than any other; it is exact, and so must leave no trace in the far field.
    const rows = 150;
    const one = { heads: 1, keyHeads: 1, queryRows: rows, keyRows: rows, dim: 8, valueDim: 3 };
    const [q, k, v] = [query, key, value].map((_, n) =>
      Float32Array.from({ length: rows * (n === 2 ? 3 : 8) }, (__, i) => 0.3 * Math.sin(1 + n + 7 * i)),
    );
    for (let l = 0; l < 8; l++) k![100 * 8 + l] = l === 0 ? 40 : 0;
    for (let row = 0; row < rows; row++) q![row * 8] = -0.2;
    const positive = kinds.positive({ ...size, dim: 8, count: 16 });
    const scores = Float64Array.from({ length: 19 }, (_, block) => (block === 12 ? 1 : 0));
    const options = { window: 8, chosenBlocks: 1, scale, selector: { prepare: () => () => scores } };
    const expected = reference({ query: q!, key: k!, value: v! }, one, [createFeatureMap(positive)], options);
    for (const by of allKernels) {
      const out = hybridAttention32(by, q!, k!, v!, one, features32(positive, scale), options);
      expect(relativeError(out, expected)).toBeLessThan(1e-5);
    }
  });

  it("permuting far blocks and keys within them changes only rounding", () => {
    const order = Array.from({ length: 150 }, (_, i) => {
      if (i < 32 || i >= 144) return i;
      const block = Math.floor(i / 16);
      return (10 - block) * 16 + (15 - (i % 16));
    });
    const move = (array: Float32Array, width: number) =>
      array.map((_, at) => {
        const row = Math.floor(at / width);
        return array[(Math.floor(row / 150) * 150 + order[row % 150]!) * width + (at % width)]!;
      });
    const options = { window: 16, chosenBlocks: 2, scale };
    const before = attend(options);
    const after = hybridAttention32(kernels, query, move(key, 7), move(value, 3), shape, features, options);
    for (let head = 0; head < 2; head++) {
      const rows = (array: Float32Array) => array.subarray(head * 450, head * 450 + 16 * 3);
      expect(relativeError(rows(after), rows(before))).toBeLessThan(1e-6);
    }
  });

  it("names arguments that do not fit", () => {
    expect(() => attend({ window: 8, near: false, causal: true })).toThrow("options.near");
    expect(() => attend({ window: 0, chosenBlocks: 1 })).toThrow("options.window");
    const elu = features32({ version: 1, kind: "elu", dim: 7 }, scale);
    const call = (map: typeof elu | undefined, options: HybridOptions32) => () =>
      hybridAttention32(kernels, query, key, value, shape, map, options);
    expect(call(elu, { window: 8 })).toThrow("exponential features");
    expect(call(undefined, { window: 0 })).toThrow("no key is exact");
    expect(() => attend({ window: 8, selector: [] })).toThrow("options.selector");
    const fewer = { ...shape, queryRows: 75 };
    expect(() =>
      hybridAttention32(kernels, query.subarray(0, 2 * 75 * 7), key, value, fewer, features, { window: 8 }),
    ).toThrow("near: false");
  });
});
