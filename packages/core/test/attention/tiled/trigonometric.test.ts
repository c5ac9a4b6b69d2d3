import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  createKernels,
  favorAttention,
  favorAttention32,
  favorCausalAttention,
  trigonometricFeatures32,
} from "../../../src/index.ts";
import type { FeatureMap, TrigonometricDescription } from "../../../src/index.ts";
import { runnableKernels } from "../../kernels/engine.ts";
import { Sampler } from "../samples.ts";

const cases = fc.record({
  variant: fc.constantFrom("phase" as const, "pair" as const),
  rows: fc.integer({ min: 0, max: 150 }),
  dim: fc.integer({ min: 1, max: 20 }),
  count: fc.integer({ min: 1, max: 30 }),
  causal: fc.boolean(),
  masked: fc.boolean(),
  magnitude: fc.constantFrom(0, 1e-20, 1e-3, 0.3, 1, 3),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

/** Per row, sum |phi_q phi_k| / |sum phi_q phi_k|: by how much signed features enlarge an error of theirs. */
function condition(
  map: FeatureMap,
  query: Float64Array,
  key: Float64Array,
  mask: readonly number[],
  causal: boolean,
): Float64Array {
  const { count } = map;
  const q = map.queryStabilized(query).features;
  const k = map.keyStabilized(key, { scope: "row" });
  return Float64Array.from({ length: mask.length }, (_, i) => {
    const seen = causal ? i + 1 : mask.length;
    let [sum, size, largest] = [0, 0, -Infinity];
    for (let j = 0; j < seen; j++) if (mask[j] !== 0) largest = Math.max(largest, k.logScale[j]!);
    for (let j = 0; j < seen; j++) {
      if (mask[j] === 0) continue;
      for (let m = 0; m < count; m++) {
        const term = Math.exp(k.logScale[j]! - largest) * q[i * count + m]! * k.features[j * count + m]!;
        sum += term;
        size += Math.abs(term);
      }
    }
    return size === 0 ? 1 : size / Math.abs(sum);
  });
}

describe.each(runnableKernels)("trigonometric features in float32, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  it("agree with float64, their normaliser's condition considered", () => {
    fc.assert(
      fc.property(cases, ({ variant, rows, dim, count, causal, masked, magnitude, seed }) => {
        const sampler = new Sampler(seed);
        const [query, key] = [0, 1].map(() => Float32Array.from(sampler.normals(rows * dim, magnitude)));
        const value = Float32Array.from(sampler.normals(rows * 3));
        const keyMask = Array.from({ length: rows }, () => (masked && sampler.uniform() < 0.4 ? 0 : 1));
        const projection = { kind: "orthogonal", count, dim, seed } as const;
        const description: TrigonometricDescription = { version: 1, kind: "trigonometric", variant, projection };
        const featureMap = createFeatureMap(description);
        const scale = 0.7;
        const narrow = (array: Float32Array) => Float64Array.from(array, (x) => x * Math.sqrt(scale));
        const attend = causal ? favorCausalAttention : favorAttention;
        const expected = attend(narrow(query!), narrow(key!), Float64Array.from(value), {
          featureMap,
          valueDim: 3,
          keyMask,
        });
        const shape = { heads: 1, queryRows: rows, keyRows: rows, dim, valueDim: 3 };
        const features = trigonometricFeatures32(description, { scale });
        const actual = favorAttention32(kernels, query!, key!, value, shape, features, { causal, keyMask });
        const worst = condition(featureMap, narrow(query!), narrow(key!), keyMask, causal);
        // an angle is about |w||x| <= 3 dim, half a squared norm dim: their errors are 1e-7 of that for large vectors
        const tolerance = 1e-5 * Math.max(1, magnitude ** 2);
        const wrong = Array.from(actual, (x, i) => {
          const error = Math.abs(x - expected[i]!) / worst[Math.floor(i / 3)]!;
          // where the normaliser is nothing but rounding, neither result means anything
          return error < tolerance * (1 + Math.abs(expected[i]!)) || worst[Math.floor(i / 3)]! > 1e4
            ? ""
            : `${i}: ${x}, not ${expected[i]}`;
        }).filter(Boolean);
        expect(wrong).toEqual([]);
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it("hold keys relative to the largest seen, however it changes along the sequence", () => {
    const rows = 130;
    const projection = { kind: "orthogonal", count: 16, dim: 2, seed: 3 } as const;
    const description = { version: 1, kind: "trigonometric", variant: "pair", projection } as const;
    const features = trigonometricFeatures32(description);
    const featureMap = createFeatureMap(description);
    const shape = { heads: 1, queryRows: rows, keyRows: rows, dim: 2, valueDim: 1 };
    for (const growing of [true, false]) {
      const key = Float32Array.from({ length: rows * 2 }, (_, i) => {
        const row = Math.floor(i / 2);
        return 0.4 * (growing ? row : rows - row);
      });
      const value = Float32Array.from({ length: rows }, (_, i) => 1 + Math.sin(i));
      for (const causal of [true, false]) {
        const attend = causal ? favorCausalAttention : favorAttention;
        const expected = attend(Float64Array.from(key), Float64Array.from(key), Float64Array.from(value), {
          featureMap,
          valueDim: 1,
        });
        const actual = favorAttention32(kernels, key, key, value, shape, features, { causal });
        for (let i = 0; i < rows; i++) expect(Math.abs(actual[i]! - expected[i]!)).toBeLessThan(2e-3);
      }
    }
  });

  it("causal: earlier rows keep their bits whatever comes later", () => {
    const sampler = new Sampler(5);
    const [rows, dim, from] = [150, 5, 77];
    const [query, key, value] = [0, 1, 2].map(() => Float32Array.from(sampler.normals(rows * dim)));
    const projection = { kind: "iid", count: 9, dim, seed: 2 } as const;
    const features = trigonometricFeatures32({ version: 1, kind: "trigonometric", variant: "pair", projection });
    const shape = { heads: 1, queryRows: rows, keyRows: rows, dim };
    const run = (k: Float32Array) => favorAttention32(kernels, query!, k, value!, shape, features, { causal: true });
    const before = run(key!);
    for (const future of [7, -1e3, Number.NaN]) {
      const after = run(key!.slice().fill(future, from * dim));
      expect(after.subarray(0, from * dim)).toEqual(before.subarray(0, from * dim));
      expect(after).not.toEqual(before);
    }
  });

  it.each(["pair", "phase"] as const)("%s: at |q|^2 = 400, off by no more than its docstring says", (variant) => {
    const [rows, dim] = [64, 16];
    const sampler = new Sampler(12);
    const ofLength20 = () => {
      const x = sampler.normals(rows * dim);
      for (let start = 0; start < x.length; start += dim) {
        const norm = Math.hypot(...x.subarray(start, start + dim));
        for (let l = start; l < start + dim; l++) x[l] = Math.fround((20 * x[l]!) / norm);
      }
      return x;
    };
    const [query, key, value] = [ofLength20(), ofLength20(), sampler.normals(rows * dim).map(Math.fround)];
    const projection = { kind: "orthogonal", count: 256, dim, seed: 1 } as const;
    const description = { version: 1, kind: "trigonometric", variant, projection } as const;
    const expected = favorAttention(query, key, value, { featureMap: createFeatureMap(description) });
    const shape = { heads: 1, queryRows: rows, keyRows: rows, dim };
    const [q, k, v] = [Float32Array.from(query), Float32Array.from(key), Float32Array.from(value)];
    const actual = favorAttention32(kernels, q, k, v, shape, trigonometricFeatures32(description));
    const error = Math.hypot(...actual.map((x, i) => x - expected[i]!)) / Math.hypot(...expected);
    expect(error).toBeLessThan(3e-2);
  });

  it("refuses angles whose cosine float32 does not have, instead of answering with any number", () => {
    const projection = { kind: "iid", count: 8, dim: 2, seed: 2 } as const;
    const features = trigonometricFeatures32({ version: 1, kind: "trigonometric", variant: "phase", projection });
    const shape = { heads: 1, queryRows: 4, keyRows: 4, dim: 2 };
    const [small, large] = [new Float32Array(8).fill(1), new Float32Array(8).fill(1e5)];
    for (const [q, k] of [
      [large, small],
      [small, large],
    ] as const) {
      expect(() => favorAttention32(kernels, q, k, small, shape, features)).toThrow(/\|w\.x\| is at most 8186/);
    }
  });

  it("NaN in a query stays in its row, in a key reaches all rows; hidden keys may hold it", () => {
    const sampler = new Sampler(8);
    const [query, key, value] = [0, 1, 2].map(() => Float32Array.from(sampler.normals(70 * 2, 0.3)));
    const projection = { kind: "iid", count: 3, dim: 2, seed: 2 } as const;
    const features = trigonometricFeatures32({ version: 1, kind: "trigonometric", variant: "phase", projection });
    const shape = { heads: 1, queryRows: 70, keyRows: 70, dim: 2 };
    const run = (q: Float32Array, k: Float32Array, keyMask?: readonly number[]) =>
      favorAttention32(kernels, q, k, value!, shape, features, keyMask && { keyMask });
    const clean = run(query!, key!);
    expect(run(query!.slice().fill(Number.NaN, 5, 6), key!)).toEqual(clean.slice().fill(Number.NaN, 4, 6));
    const dirty = key!.slice().fill(Infinity, 9, 10);
    expect(run(query!, dirty).every(Number.isNaN)).toBe(true);
    const mask = Array.from({ length: 70 }, (_, j) => (j === 4 ? 0 : 1));
    expect(run(query!, dirty, mask)).toEqual(run(query!, key!, mask));
    expect(
      run(
        query!,
        dirty,
        Array.from({ length: 70 }, () => 0),
      ),
    ).toEqual(new Float32Array(140));
  });
});
