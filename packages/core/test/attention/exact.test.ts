import { describe, expect, it } from "vitest";
import { exactAttention } from "../../src/index.ts";
import { normals } from "../features/samples.ts";

const dim = 3;
const valueDim = 2;
const q = normals(4 * dim, 1);
const k = normals(5 * dim, 2);
const v = normals(5 * valueDim, 3);

function withNaNRow(x: Float64Array, width: number): Float64Array {
  return Float64Array.of(...x, ...Array<number>(width).fill(NaN));
}

describe("exactAttention", () => {
  it("is the softmax-weighted mean of the values", () => {
    const out = exactAttention(q, k, v, { dim, valueDim, scale: 0.7 });
    for (let i = 0; i < 4; i++) {
      const weights = Array.from({ length: 5 }, (_, j) => {
        let logit = 0;
        for (let l = 0; l < dim; l++) logit += q[i * dim + l]! * k[j * dim + l]!;
        return Math.exp(0.7 * logit);
      });
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      for (let l = 0; l < valueDim; l++) {
        const expected = weights.reduce((sum, weight, j) => sum + weight * v[j * valueDim + l]!, 0) / total;
        expect(out[i * valueDim + l]!).toBeCloseTo(expected, 14);
      }
    }
  });

  it("does not see a constant vector added to every key, nor hidden keys, NaN included", () => {
    const out = exactAttention(q, k, v, { dim, valueDim });
    const shifted = k.map((value, i) => value + [3, -2, 1][i % dim]!);
    exactAttention(q, shifted, v, { dim, valueDim }).forEach((value, i) => expect(value).toBeCloseTo(out[i]!, 12));
    const padded = exactAttention(q, withNaNRow(k, dim), withNaNRow(v, valueDim), {
      dim,
      valueDim,
      keyMask: [1, 1, 1, 1, 1, 0],
    });
    expect(padded).toEqual(out);
  });

  it("causal: a row is bidirectional attention over its prefix, aligned at the end", () => {
    const out = exactAttention(q, k, v, { dim, valueDim, causal: true });
    for (let i = 0; i < 4; i++) {
      const seen = i + 2;
      const row = exactAttention(
        q.subarray(i * dim, (i + 1) * dim),
        k.subarray(0, seen * dim),
        v.subarray(0, seen * 2),
        {
          dim,
          valueDim,
        },
      );
      expect(out.subarray(i * valueDim, (i + 1) * valueDim)).toEqual(row);
    }
  });

  it("a row that sees nothing is 0, empty input gives empty output, huge logits stay finite", () => {
    expect(exactAttention(q, k, v, { dim, valueDim, keyMask: new Uint8Array(5) })).toEqual(new Float64Array(8));
    const none = new Float64Array(0);
    expect(exactAttention(none, k, v, { dim, valueDim })).toEqual(none);
    expect(exactAttention(q, none, none, { dim, valueDim })).toEqual(new Float64Array(8));
    const huge = q.map((value) => value * 1e150);
    expect(exactAttention(huge, k, v, { dim, valueDim }).every(Number.isFinite)).toBe(true);
  });

  it("refuses shapes that disagree", () => {
    expect(() => exactAttention(q, k, v, { dim: 5 })).toThrow("query: expected [rows, 5] values");
    expect(() => exactAttention(q, k, v, { dim })).toThrow("value: expected 15 values");
    expect(() => exactAttention(q, k, v, { dim, valueDim, keyMask: [1] })).toThrow("options.keyMask");
    expect(() => exactAttention(q, k, v, { dim, valueDim, scale: NaN })).toThrow("options.scale");
    expect(() => exactAttention(k, q, v.subarray(2), { dim, valueDim, causal: true })).toThrow("at least 5 rows");
  });
});
