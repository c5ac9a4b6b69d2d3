import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  createKernels,
  exactAttention,
  exactAttentionBackward32,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttentionBackward32,
  favorCausalAttention,
} from "../../../src/index.ts";
import type { AttentionGradients32, BlockKernels } from "../../../src/index.ts";
import { exponentialFeatureMap } from "../../../src/features/exponential-form.ts";
import { runnableKernels } from "../../kernels/engine.ts";
import {
  differences,
  draw,
  exactGradients,
  favorGradients,
  features32,
  gradientError,
  kinds,
  single,
  zeroRows,
} from "../float64-gradients.ts";
import type { Gradients64, Sample, Size } from "../float64-gradients.ts";

const sizes = fc.record({
  group: fc.integer({ min: 1, max: 2 }),
  keyHeads: fc.integer({ min: 1, max: 2 }),
  queryRows: fc.constantFrom(0, 1, 2, 17, 64, 90, 150),
  keyRows: fc.constantFrom(0, 1, 3, 64, 150),
  dim: fc.constantFrom(1, 2, 7, 8, 19),
  valueDim: fc.constantFrom(1, 3, 8, 11),
  count: fc.constantFrom(1, 5, 8, 26),
  masked: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

const allKernels = runnableKernels.map((simd) => createKernels({ simd }));
/** The largest error over all kinds of kernels; what is expected of them takes longer than they do. */
function largestError(
  expected: Gradients64,
  sample: Sample,
  method: "exact" | "FAVOR",
  differentiate: (kernels: BlockKernels) => AttentionGradients32,
): number {
  return Math.max(...allKernels.map((kernels) => gradientError(differentiate(kernels), expected, sample, method)));
}

describe("float32 backward passes against float64, with all kernels", () => {
  it.each([false, true])("exact, against its definition in float64, causal: %s", (causal) => {
    fc.assert(
      fc.property(sizes, fc.constantFrom(0, 1e-10, 1), (size, magnitude) => {
        const sample = draw(size, causal, magnitude);
        const { query, key, value, shape, gradient, options } = sample;
        const differentiate = (kernels: BlockKernels) =>
          exactAttentionBackward32(kernels, query, key, value, shape, gradient, {
            ...options,
            scale: 0.6,
          });
        expect(largestError(exactGradients(sample, 0.6), sample, "exact", differentiate)).toBeLessThan(1e-5);
      }),
      { numRuns: 10, seed: 1 },
    );
  });

  it.each(Object.keys(kinds).flatMap((kind) => [false, true].map((causal) => [kind, causal] as const)))(
    "FAVOR, %s, against float64, causal: %s",
    (kind, causal) => {
      fc.assert(
        fc.property(sizes, fc.constantFrom(0.01, 0.5), (size, magnitude) => {
          const sample = draw(size, causal, magnitude);
          const { query, key, value, shape, gradient, options } = sample;
          const descriptions = Array.from({ length: size.keyHeads }, (_, head) =>
            kinds[kind as keyof typeof kinds]({ ...size, seed: size.seed + head }),
          );
          const features = descriptions.map((each) => features32(each, 0.7));
          const differentiate = (kernels: BlockKernels) =>
            favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
          expect(
            largestError(
              favorGradients(sample, descriptions.map(createFeatureMap), 0.7),
              sample,
              "FAVOR",
              differentiate,
            ),
          ).toBeLessThan(1e-5);
        }),
        { numRuns: 10, seed: 2 },
      );
    },
  );

  it.each([
    ["phase", false],
    ["phase", true],
    ["pair", false],
    ["pair", true],
  ] as const)("FAVOR, trigonometric %s, against float64, causal: %s", (variant, causal) => {
    for (const queryRows of [1, 17, 130]) {
      const sample = draw({ ...single, group: 2, queryRows, keyRows: 90, dim: 7, valueDim: 3 }, causal, 0.4);
      const { query, key, value, shape, gradient, options } = sample;
      const projection = { kind: "orthogonal", count: 61, dim: 7, seed: 4 } as const;
      const description = { version: 1, kind: "trigonometric", variant, projection } as const;
      const features = features32(description, 0.7);
      const differentiate = (kernels: BlockKernels) =>
        favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
      expect(
        largestError(favorGradients(sample, [createFeatureMap(description)], 0.7), sample, "FAVOR", differentiate),
      ).toBeLessThan(1e-5);
    }
  });

  it.each([false, true])("agree with finite differences, causal: %s", (causal) => {
    const sample = draw(single, causal, 0.6);
    const { query, key, value, shape, gradient, options } = sample;
    const { dim, valueDim } = single;
    const differentiateExact = (kernels: BlockKernels) =>
      exactAttentionBackward32(kernels, query, key, value, shape, gradient, { ...options, scale: 0.5 });
    expect(
      largestError(
        differences(sample, (q, k, v) => exactAttention(q, k, v, { dim, valueDim, scale: 0.5, ...options })),
        sample,
        "exact",
        differentiateExact,
      ),
    ).toBeLessThan(1e-5);
    const { keyMask } = options;
    for (const description of [kinds.calibrated(single), kinds.landmark(single), kinds.softplus(single)]) {
      const featureMap = createFeatureMap(description);
      const features = features32(description, 1);
      const differentiate = (kernels: BlockKernels) =>
        favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
      const attend = causal ? favorCausalAttention : favorAttention;
      expect(
        largestError(
          differences(sample, (q, k, v) => attend(q, k, v, { featureMap, valueDim, keyMask: keyMask! })),
          sample,
          "FAVOR",
          differentiate,
        ),
      ).toBeLessThan(1e-5);
    }
  });

  it("has room for d of 256 and M that is no multiple of it", () => {
    const large: Size = { ...single, queryRows: 70, keyRows: 66, dim: 256, valueDim: 33, count: 270 };
    const sample = draw(large, false, 0.03);
    const { query, key, value, shape, gradient, options } = sample;
    const description = kinds.positive(large);
    const features = features32(description, 1);
    const differentiate = (kernels: BlockKernels) =>
      favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
    const expected = favorGradients(sample, [createFeatureMap(description)], 1);
    expect(largestError(expected, sample, "FAVOR", differentiate)).toBeLessThan(1e-5);
  });
});

describe.each(runnableKernels)("float32 backward passes, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  it("causal: survives log features that exp cannot represent, rising or falling along the sequence", () => {
    for (const slope of [2, -2]) {
      const rows = 100;
      const sample = draw({ ...single, queryRows: rows, masked: false }, true, 0.5);
      for (let j = 0; j < rows; j++) for (let l = 0; l < 3; l++) sample.key[j * 3 + l] = slope * (j - 50) + l;
      const { query, key, value, shape, gradient, options } = sample;
      const description = kinds.landmark(single);
      const { core: _, ...plain } = exponentialForm(description);
      for (const one of [plain, exponentialForm(description)]) {
        const actual = favorAttentionBackward32(
          ...([kernels, query, key, value, shape, exponentialFeatures32(one), gradient, options] as const),
        );
        const map = exponentialFeatureMap(description, one);
        // the largest log features, some hundreds, are rounded in float32
        expect(gradientError(actual, favorGradients(sample, [map], 1), sample, "FAVOR")).toBeLessThan(1e-4);
      }
    }
  });

  const size: Size = { ...single, group: 2, queryRows: 150, keyRows: 150, dim: 5, valueDim: 4 };
  const backwards = {
    exact: ({ query, key, value, shape, gradient, options }: Sample) =>
      exactAttentionBackward32(kernels, query, key, value, shape, gradient, options),
    ...Object.fromEntries(
      (["positive", "landmark", "softplus", "trigonometric"] as const).map((kind) => {
        const projection = { kind: "orthogonal", count: 6, dim: 5, seed: 1 } as const;
        const features = features32(
          kind === "trigonometric" ? { version: 1, kind, variant: "pair", projection } : kinds[kind](size),
          0.5,
        );
        return [
          kind,
          ({ query, key, value, shape, gradient, options }: Sample) =>
            favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options),
        ];
      }),
    ),
  };

  describe.each(Object.entries(backwards))("%s", (name, backward) => {
    it("causal: the gradients of queries keep their bits whatever comes later", () => {
      const sample = draw(size, true, 0.6);
      const before = backward(sample);
      const from = 77;
      const futures = name === "exact" ? [50, -1e4] : [50, -50, name === "trigonometric" ? 1e3 : 1e4, Number.NaN];
      for (const future of futures) {
        const after = backward({
          ...sample,
          key: sample.key.slice().fill(future, from * 5),
          value: sample.value.slice().fill(future, from * 4),
        });
        for (const head of [0, 1]) {
          const [start, end] = [head * 150 * 5, (head * 150 + from) * 5];
          expect(after.query.subarray(start, end)).toEqual(before.query.subarray(start, end));
        }
        expect(after.query).not.toEqual(before.query);
      }
    });

    it.each([false, true])(
      "hidden keys may hold anything and have gradient 0; all hidden gives 0; causal: %s",
      (causal) => {
        const sample = draw({ ...size, queryRows: 70, keyRows: 70 }, causal, 0.6);
        const keyMask = sample.options.keyMask!;
        const clean = backward(sample);
        const dirty = backward({
          ...sample,
          key: sample.key.map((x, i) => (keyMask[Math.floor(i / 5)] === 0 ? Number.NaN : x)),
          value: sample.value.map((x, i) => (keyMask[Math.floor(i / 4)] === 0 ? Infinity : x)),
        });
        for (const each of ["query", "key", "value"] as const) {
          expect(dirty[each].map((x) => x + 0)).toEqual(clean[each].map((x) => x + 0));
        }
        const hidden = Array.from(keyMask, (mask) => mask === 0);
        expect(zeroRows(clean.key, 5)).toEqual(hidden);
        expect(zeroRows(clean.value, 4)).toEqual(hidden);
        const none = backward({ ...sample, options: { causal, keyMask: new Uint8Array(70) } });
        for (const array of [none.query, none.key, none.value]) expect(array.every((x) => x === 0)).toBe(true);
      },
    );

    it("NaN in a key or an upstream gradient comes out as NaN where it reaches", () => {
      const sample = draw({ ...size, masked: false }, false, 0.6);
      const key = sample.key.slice().fill(Number.NaN, 33, 34);
      const { query } = backward({ ...sample, key });
      expect(query.every(Number.isNaN)).toBe(true);
      const clean = backward(sample);
      const upstream = backward({ ...sample, gradient: sample.gradient.slice().fill(Number.NaN, 20, 21) });
      expect(upstream.query).toEqual(clean.query.slice().fill(Number.NaN, 25, 30));
      expect(upstream.key.every(Number.isNaN)).toBe(true);
    });

    it("is finite from tiny to huge norms", () => {
      for (const magnitude of name === "trigonometric" ? [0, 1e-30] : [0, 1e-30, 30, 1e4]) {
        for (const causal of [false, true]) {
          const { query, key, value } = backward(draw(size, causal, magnitude));
          for (const array of [query, key, value]) expect(array.every(Number.isFinite)).toBe(true);
        }
      }
    });

    it("names bad arguments", () => {
      const sample = draw(size, false, 0.6);
      expect(() => backward({ ...sample, gradient: sample.gradient.subarray(1) })).toThrow("gradient:");
      expect(() => backward({ ...sample, key: sample.key.subarray(1) })).toThrow("key:");
      expect(() => backward({ ...sample, shape: { ...sample.shape, keyHeads: 3 } })).toThrow("shape.keyHeads:");
    });
  });
});

/** Numbers in the kernels' heap after a backward pass of one head, d = 8, M = 16. */
function heapAfter(method: "FAVOR" | "exact", rows: number, causal: boolean): number {
  const kernels = createKernels({ simd: "off" });
  const size: Size = { ...single, queryRows: rows, keyRows: rows, dim: 8, valueDim: 8, count: 16, masked: false };
  const { query, key, value, shape, gradient, options } = draw(size, causal, 0.3);
  if (method === "exact") {
    exactAttentionBackward32(kernels, query, key, value, shape, gradient, options);
  } else {
    const features = features32(kinds.positive(size), 1);
    favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
  }
  return kernels.heap(0).length;
}

describe.each([false, true])("the workspace of the backward passes, causal: %s", (causal) => {
  it("of FAVOR does not depend on the length", () => {
    expect(heapAfter("FAVOR", 1024, causal)).toBe(heapAfter("FAVOR", 64, causal));
  });

  it("of exact attention is a head's keys and values thrice each, and a number for each key", () => {
    expect(heapAfter("exact", 1024, causal) - heapAfter("exact", 512, causal)).toBe(512 * (3 * 16 + 1));
  });
});
