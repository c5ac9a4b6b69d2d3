import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { lshAttention, lshBuckets, lshSubsets, sharedKeys } from "../../src/comparison/lsh.ts";
import { relativeError, Sampler } from "../attention/samples.ts";
import { denseMaskedAttention } from "./dense-masked.ts";

/**
 * Who may meet whom in one round, by the paper's equation 5: s_i is the position in the order by bucket and position,
 * floor(s_i / m) - 1 <= floor(s_j / m) <= floor(s_i / m), and the buckets are equal.
 */
function meetInRound(buckets: Int32Array, tokens: readonly number[], chunk: number) {
  const place = (i: number) =>
    tokens.filter((j) => buckets[j]! < buckets[i]! || (buckets[j] === buckets[i] && j < i)).length;
  return (i: number, j: number): boolean => {
    const distance = Math.floor(place(i) / chunk) - Math.floor(place(j) / chunk);
    return tokens.includes(i) && tokens.includes(j) && buckets[i] === buckets[j] && (distance === 0 || distance === 1);
  };
}

const hash = (rows: Float64Array) => lshBuckets(rows, { dim: 8, buckets: 8, seed: 3, round: 0 });

describe("LSH attention", () => {
  it("equals dense attention with the mask that the hashing implies", () => {
    fc.assert(
      fc.property(
        fc.record({
          rows: fc.integer({ min: 0, max: 24 }),
          half: fc.integer({ min: 1, max: 3 }),
          chunk: fc.integer({ min: 1, max: 8 }),
          rounds: fc.integer({ min: 1, max: 3 }),
          causal: fc.boolean(),
          seed: fc.integer({ min: 1, max: 1e6 }),
        }),
        ({ rows, half, chunk, rounds, causal, seed }) => {
          const sampler = new Sampler(seed);
          const query = sampler.normals(rows * 4);
          const value = sampler.normals(rows * 3);
          const keyMask = Array.from({ length: rows }, () => (sampler.uniform() < 0.2 ? 0 : 1));
          const tokens = keyMask.flatMap((mask, i) => (mask ? [i] : []));
          const meets = Array.from({ length: rounds }, (_, round) =>
            meetInRound(lshBuckets(query, { dim: 4, buckets: 2 * half, seed, round }), tokens, chunk),
          );
          const other = (i: number, j: number) => i !== j && (!causal || j < i) && meets.some((meet) => meet(i, j));
          const allowed = (i: number, j: number) => {
            if (i !== j) return other(i, j);
            return tokens.includes(i) && !tokens.some((k) => other(i, k));
          };
          const expected = denseMaskedAttention(query, sharedKeys(query, 4), value, 4, 2, allowed);
          const options = { dim: 4, valueDim: 3, scale: 2, buckets: 2 * half, chunk, rounds, causal, seed, keyMask };
          expect(relativeError(lshAttention(query, value, options), expected)).toBeLessThan(1e-12);
        },
      ),
      { numRuns: 80, seed: 1 },
    );
  });

  it("comes closer to exact shared-QK attention with more rounds", () => {
    const sampler = new Sampler(4);
    const query = sampler.normals(256 * 8, 2);
    const value = sampler.normals(256 * 8);
    const exact = denseMaskedAttention(query, sharedKeys(query, 8), value, 8, 3, (i, j) => i !== j);
    const error = (rounds: number) =>
      relativeError(lshAttention(query, value, { dim: 8, scale: 3, rounds, seed: 1 }), exact);
    expect(error(16)).toBeLessThan(error(1) / 2);
  });

  it("hashes by direction: scaling changes no bucket, near vectors share one more often than far ones", () => {
    const sampler = new Sampler(6);
    const x = sampler.normals(400 * 8);
    const near = x.map((v) => v + 0.1 * sampler.normal());
    expect(hash(x.map((v) => 17 * v))).toEqual(hash(x));
    const buckets = hash(x);
    const shared = (others: Int32Array) => others.filter((bucket, i) => bucket === buckets[i]).length / 400;
    expect(shared(hash(near))).toBeGreaterThan(0.8);
    expect(shared(hash(sampler.normals(400 * 8)))).toBeLessThan(0.25);
  });

  it("is not moved by padding", () => {
    const sampler = new Sampler(9);
    const query = sampler.normals(100 * 4);
    const value = sampler.normals(100 * 4);
    const short = lshAttention(query.subarray(0, 80 * 4), value.subarray(0, 80 * 4), { dim: 4, seed: 5 });
    const keyMask = Array.from({ length: 100 }, (_, i) => (i < 80 ? 1 : 0));
    const padded = lshAttention(query, value, { dim: 4, seed: 5, keyMask });
    expect(padded.subarray(0, 80 * 4)).toEqual(short);
    expect(padded.subarray(80 * 4)).toEqual(new Float64Array(80));
  });

  it("shared keys are unit vectors times d^(-1/4), 0 of 0", () => {
    const keys = sharedKeys(Float64Array.of(3, 4, 0, 0), 2);
    expect(relativeError(keys, [0.6 * 2 ** -0.25, 0.8 * 2 ** -0.25, 0, 0])).toBeLessThan(1e-15);
  });

  it("has the temperature of Reformer: the layer's q_i.q_j / (|q_j| sqrt(d))", () => {
    const [rows, dim] = [40, 16];
    const sampler = new Sampler(11);
    const layer = sampler.normals(rows * dim, 2);
    const value = sampler.normals(rows * dim);
    const query = layer.map((x) => x * dim ** -0.25);
    const hashing = { dim, buckets: 2, chunk: rows, rounds: 1, seed: 1 };
    const met = lshSubsets(query, hashing);
    const expected = new Float64Array(rows * dim);
    for (const [i, others] of met.entries()) {
      const q = layer.subarray(i * dim, (i + 1) * dim);
      const weights = others.map((j) => {
        const k = layer.subarray(j * dim, (j + 1) * dim);
        return Math.exp(q.reduce((sum, x, l) => sum + x * k[l]!, 0) / (Math.hypot(...k) * Math.sqrt(dim)));
      });
      const total = weights.reduce((a, b) => a + b, 0);
      for (const [at, j] of others.entries()) {
        for (let c = 0; c < dim; c++) expected[i * dim + c]! += (weights[at]! / total) * value[j * dim + c]!;
      }
    }
    expect(Math.min(...met.map(({ length }) => length))).toBeGreaterThan(1);
    expect(relativeError(lshAttention(query, value, hashing), expected)).toBeLessThan(1e-12);
  });

  it.each([
    ["options.buckets", { buckets: 3 }],
    ["options.rounds", { rounds: 0 }],
    ["options.chunk", { chunk: 0.5 }],
    ["query", { dim: 3 }],
  ])("names a bad %s", (name, bad) => {
    const x = new Float64Array(8);
    expect(() => lshAttention(x, x, { dim: 2, seed: 1, ...bad })).toThrow(`${name}:`);
  });

  it("hashing and shared keys name theirs", () => {
    const x = new Float64Array(8);
    expect(() => sharedKeys(x, 0)).toThrow("dim:");
    expect(() => sharedKeys(x, 3)).toThrow("query:");
    expect(() => lshBuckets(x, { dim: 3, buckets: 2, seed: 1, round: 0 })).toThrow("x:");
    expect(() => lshBuckets(x, { dim: 2, buckets: 3, seed: 1, round: 0 })).toThrow("options.buckets:");
  });
});
