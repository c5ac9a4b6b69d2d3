import { describe, expect, it } from "vitest";
import { createFeatureMap, exactAttention, favorAttention } from "../../src/index.ts";
import type { FeatureMapDescription } from "../../src/index.ts";
import { largestDifference } from "../features/differences.ts";
import { exponentialEstimators, normals } from "../features/samples.ts";

const dim = 4;
const valueDim = 3;
const q = normals(6 * dim, 1, 0.5);
const k = normals(7 * dim, 2, 0.5);
const v = normals(7 * valueDim, 3);

const projection = { kind: "orthogonal", count: 8, dim, seed: 4 } as const;
const descriptions: FeatureMapDescription[] = [
  ...exponentialEstimators(projection),
  { version: 1, kind: "generalized", projection, function: "relu" },
  { version: 1, kind: "elu", dim },
];

function permuted(x: Float64Array, width: number, rows: number[]): Float64Array {
  return Float64Array.from(rows.flatMap((row) => Array.from(x.subarray(row * width, (row + 1) * width))));
}

describe.each(descriptions.map((d) => [d.kind, d] as const))("FAVOR attention with %s features", (_, description) => {
  const featureMap = createFeatureMap(description);
  const out = favorAttention(q, k, v, { featureMap, valueDim });

  it("is D^-1 A V with A = phi(Q) phi(K)^T", () => {
    const phiQ = featureMap.query(q);
    const phiK = featureMap.key(k);
    const expected = new Float64Array(6 * valueDim);
    for (let i = 0; i < 6; i++) {
      let total = 0;
      for (let j = 0; j < 7; j++) {
        let a = 0;
        for (let m = 0; m < featureMap.count; m++)
          a += phiQ[i * featureMap.count + m]! * phiK[j * featureMap.count + m]!;
        total += a;
        for (let l = 0; l < valueDim; l++) expected[i * valueDim + l]! += a * v[j * valueDim + l]!;
      }
      for (let l = 0; l < valueDim; l++) expected[i * valueDim + l]! /= total;
    }
    expect(largestDifference(out, expected)).toBeLessThan(1e-9);
  });

  it("does not depend on padding, whatever it holds", () => {
    for (const filler of [0, 50, NaN]) {
      const pad = (x: Float64Array, width: number): Float64Array =>
        Float64Array.of(...x, ...Array<number>(3 * width).fill(filler));
      const keyMask = [1, 1, 1, 1, 1, 1, 1, 0, 0, 0];
      expect(favorAttention(q, pad(k, dim), pad(v, valueDim), { featureMap, valueDim, keyMask })).toEqual(out);
    }
  });

  it("permuting keys with their values changes nothing; permuting queries permutes rows", () => {
    const order = [3, 0, 6, 2, 5, 1, 4];
    expect(
      largestDifference(
        favorAttention(q, permuted(k, dim, order), permuted(v, valueDim, order), { featureMap, valueDim }),
        out,
      ),
    ).toBeLessThan(1e-9);
    const rows = [5, 4, 3, 2, 1, 0];
    expect(
      largestDifference(
        favorAttention(permuted(q, dim, rows), k, v, { featureMap, valueDim }),
        permuted(out, valueDim, rows),
      ),
    ).toBeLessThan(1e-11);
  });

  it("a row alone gives what it gives in the batch", () => {
    expect(favorAttention(q.subarray(dim, 2 * dim), k, v, { featureMap, valueDim })).toEqual(
      out.subarray(valueDim, 2 * valueDim),
    );
  });

  it("gives 0 when every key is hidden or there is none", () => {
    expect(favorAttention(q, k, v, { featureMap, valueDim, keyMask: new Uint8Array(7) })).toEqual(new Float64Array(18));
    const none = new Float64Array(0);
    expect(favorAttention(q, none, none, { featureMap, valueDim })).toEqual(new Float64Array(18));
    expect(favorAttention(none, k, v, { featureMap, valueDim })).toEqual(none);
  });
});

describe("FAVOR attention", () => {
  it("comes to the exact one as M grows", () => {
    const exact = exactAttention(q, k, v, { dim, valueDim });
    const errors = [16, 256, 4096].map((count) => {
      const map = createFeatureMap({ version: 1, kind: "positive", projection: { ...projection, count } });
      const out = favorAttention(q, k, v, { featureMap: map, valueDim });
      return Math.sqrt(out.reduce((sum, value, i) => sum + (value - exact[i]!) ** 2, 0));
    });
    expect(errors[1]!).toBeLessThan(0.5 * errors[0]!);
    expect(errors[2]!).toBeLessThan(0.5 * errors[1]!);
    expect(errors[2]!).toBeLessThan(0.1);
  });

  it("stays finite for norms at which exp overflows", () => {
    const map = createFeatureMap({ version: 1, kind: "positive", projection });
    const hugeQuery = q.map((value) => value * 1e3);
    const hugeKey = k.map((value) => value * 1e3);
    expect(favorAttention(hugeQuery, hugeKey, v, { featureMap: map, valueDim }).every(Number.isFinite)).toBe(true);
  });

  it("refuses shapes that disagree", () => {
    const featureMap = createFeatureMap({ version: 1, kind: "elu", dim });
    expect(() => favorAttention(q, k, v, { featureMap })).toThrow("value: expected 28 values");
    expect(() => favorAttention(q.subarray(1), k, v, { featureMap, valueDim })).toThrow("query");
    expect(() => favorAttention(q, k, v, { featureMap, valueDim, keyMask: [0] })).toThrow("options.keyMask");
  });
});
