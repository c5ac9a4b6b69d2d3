import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exactAttention } from "../../src/attention/exact.ts";
import { sparseAttention, sparseSubset } from "../../src/comparison/sparse.ts";
import type { SparsePattern } from "../../src/comparison/sparse.ts";
import { relativeError, Sampler } from "../attention/samples.ts";
import { denseMaskedAttention } from "./dense-masked.ts";

/** The sets of 1904.10509, section 4.3, word by word. */
function inPattern({ kind, stride: l, summary: c = 1, part = "both" }: SparsePattern, i: number, j: number): boolean {
  const local = kind === "strided" ? Math.abs(i - j) <= l : Math.floor(j / l) === Math.floor(i / l);
  const distant = kind === "strided" ? Math.abs(i - j) % l === 0 : j % l >= l - c;
  if (part === "both") return local || distant;
  return part === "local" ? local : distant;
}

const cases = fc.record({
  kind: fc.constantFrom("strided" as const, "fixed" as const),
  part: fc.constantFrom("local" as const, "distant" as const, "both" as const),
  stride: fc.integer({ min: 1, max: 9 }),
  summary: fc.integer({ min: 1, max: 3 }),
  rows: fc.integer({ min: 0, max: 40 }),
  causal: fc.boolean(),
  seed: fc.integer({ min: 1, max: 1e6 }),
});

describe("Sparse Transformer attention", () => {
  it("equals dense attention with the pattern as its mask", () => {
    fc.assert(
      fc.property(cases, ({ kind, part, stride, summary, rows, causal, seed }) => {
        const pattern = { kind, part, stride, summary: Math.min(summary, stride) };
        const sampler = new Sampler(seed);
        const [query, key, value] = [sampler.normals(rows * 4), sampler.normals(rows * 4), sampler.normals(rows * 3)];
        const keyMask = Array.from({ length: rows }, () => (sampler.uniform() < 0.2 ? 0 : 1));
        const expected = denseMaskedAttention(
          query,
          key,
          value,
          4,
          0.5,
          (i, j) => inPattern(pattern, i, j) && (!causal || j <= i) && keyMask[j] === 1,
        );
        const options = { dim: 4, valueDim: 3, scale: 0.5, pattern, causal, keyMask };
        expect(relativeError(sparseAttention(query, key, value, options), expected)).toBeLessThan(1e-12);
      }),
      { numRuns: 150, seed: 1 },
    );
  });

  it("gives each key once, and about 2 sqrt(L) of them", () => {
    for (const kind of ["strided", "fixed"] as const) {
      const subset = sparseSubset({ kind, stride: 32 }, 1023, 1024, true);
      expect(new Set(subset).size).toBe(subset.length);
      expect(subset.length).toBeLessThan(2 * 32 + 2);
    }
  });

  it("is exact attention where the pattern covers all", () => {
    const sampler = new Sampler(2);
    const [query, key, value] = [sampler.normals(40), sampler.normals(40), sampler.normals(40)];
    const options = { dim: 4, causal: true };
    const all = sparseAttention(query, key, value, { ...options, pattern: { kind: "strided", stride: 10 } });
    expect(relativeError(all, exactAttention(query, key, value, options))).toBeLessThan(1e-13);
  });

  it.each([
    ["pattern.stride", { kind: "strided", stride: 0 }],
    ["pattern.summary", { kind: "fixed", stride: 2, summary: 3 }],
    ["pattern.kind", { kind: "random" as "fixed", stride: 2 }],
    ["pattern.part", { kind: "fixed", stride: 2, part: "none" as "both" }],
  ] as [string, SparsePattern][])("names a bad %s", (name, pattern) => {
    const x = new Float64Array(4);
    expect(() => sparseAttention(x, x, x, { dim: 2, pattern })).toThrow(`${name}:`);
  });
});
