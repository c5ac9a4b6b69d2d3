import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createFeatureMap, exactAttention, favorAttention } from "../../src/index.ts";
import { balance } from "../../src/calibration/index.ts";
import type { FeatureMapDescription, ProjectionKind } from "../../src/index.ts";
import type { HeadMoments } from "../../src/calibration/index.ts";
import { multiply, multiplyTransposed, transpose } from "../../src/linear-algebra/products.ts";
import { largestDifference } from "./differences.ts";
import { normals } from "./samples.ts";

/** Sizes at their edges: d = 1, odd, large; M below d, above it, and no multiple of it; no, one and some rows. */
const sizes = fc.record({
  dim: fc.constantFrom(1, 2, 3, 7, 16, 33, 256),
  count: fc.constantFrom(1, 2, 5, 16, 40),
  queries: fc.constantFrom(0, 1, 2, 5),
  keys: fc.constantFrom(0, 1, 3, 6),
  seed: fc.nat(1000),
  scale: fc.constantFrom(1e-8, 0.3, 3, 100),
});

const kinds = ["iid", "orthogonal", "hadamard", "givens"] as const satisfies ProjectionKind[];
const positiveMaps = ["positive", "hyperbolic", "oprf", "dense-exponential", "generalized", "elu"] as const;

function describeMap(
  map: (typeof positiveMaps)[number],
  kind: ProjectionKind,
  count: number,
  dim: number,
  seed: number,
): FeatureMapDescription {
  const projection = { kind, count, dim, seed };
  switch (map) {
    case "elu":
      return { version: 1, kind: "elu", dim };
    case "generalized":
      return { version: 1, kind: "generalized", projection, function: "relu" };
    case "oprf":
      return { version: 1, kind: "oprf", projection, a: -0.05 };
    case "dense-exponential":
      return { version: 1, kind: "dense-exponential", projection, a: Array.from({ length: dim }, (_, l) => -0.01 * l) };
    default:
      return { version: 1, kind: map, projection };
  }
}

describe("attention with positive features, whatever the sizes and norms", () => {
  it("is a weighted mean of the visible values: within their range, whatever the padding holds", () => {
    fc.assert(
      fc.property(sizes, fc.constantFrom(...positiveMaps), fc.constantFrom(...kinds), (size, map, kind) => {
        const { dim, count, queries, keys, seed, scale } = size;
        const featureMap = createFeatureMap(describeMap(map, kind, count, dim, seed));
        const query = normals(queries * dim, seed, scale);
        const key = normals(keys * dim, seed + 1, scale);
        const value = normals(keys * 2, seed + 2);
        const out = favorAttention(query, key, value, { featureMap, valueDim: 2 });
        expect(out.length).toBe(queries * 2);
        const bound = Math.max(0, ...value.map(Math.abs)) * (1 + 1e-9);
        // NaN would fail this, too.
        expect(out.every((x) => Math.abs(x) <= bound)).toBe(true);
        const padded = favorAttention(
          query,
          Float64Array.of(...key, ...new Float64Array(2 * dim).fill(NaN)),
          Float64Array.of(...value, ...new Float64Array(4).fill(NaN)),
          { featureMap, valueDim: 2, keyMask: Array.from({ length: keys + 2 }, (_, j) => (j < keys ? 1 : 0)) },
        );
        expect(padded).toEqual(out);
      }),
      { numRuns: 120, seed: 1 },
    );
  });

  it("of one key is that key's value, as softmax's is", () => {
    fc.assert(
      fc.property(sizes, fc.constantFrom("positive", "oprf", "elu"), (size, map) => {
        const { dim, count, seed } = size;
        const featureMap = createFeatureMap(describeMap(map, "orthogonal", count, dim, seed));
        const query = normals(3 * dim, seed);
        const key = normals(dim, seed + 1);
        const value = normals(dim, seed + 2);
        const exact = exactAttention(query, key, value, { dim });
        expect(largestDifference(favorAttention(query, key, value, { featureMap }), exact)).toBeLessThan(1e-9);
      }),
      { numRuns: 40, seed: 2 },
    );
  });
});

describe("balance, whatever the moments", () => {
  it("has inverse transposes, equal diagonal covariances and descending eigenvalues", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 5, 16), fc.nat(1000), fc.constantFrom(1e-3, 1, 1e3), (dim, seed, scale) => {
        const spd = (s: number): Float64Array => {
          const factor = normals(dim * (dim + 8), s, scale);
          return multiplyTransposed(factor, factor, dim, dim + 8, dim);
        };
        const moments: HeadMoments = {
          dim,
          count: 1,
          queryMean: normals(dim, seed),
          keyMean: normals(dim, seed + 1),
          queryCovariance: spd(seed + 2),
          keyCovariance: spd(seed + 3).map((value) => value / scale),
        };
        const { queryMatrix, keyMatrix, eigenvalues } = balance(moments);
        const product = multiply(transpose(queryMatrix, dim, dim), keyMatrix, dim, dim, dim);
        const identity = product.map((_, i) => (i % (dim + 1) === 0 ? 1 : 0));
        expect(largestDifference(product, identity)).toBeLessThan(1e-8);
        const balanced = multiplyTransposed(
          multiply(queryMatrix, moments.queryCovariance, dim, dim, dim),
          queryMatrix,
          dim,
          dim,
          dim,
        );
        const expected = identity.map((value, i) => (value * eigenvalues[i % dim]!) / 2);
        expect(largestDifference(balanced, expected)).toBeLessThan(1e-7 * eigenvalues[0]!);
        expect(eigenvalues).toEqual(eigenvalues.toSorted((a, b) => b - a));
      }),
      { numRuns: 60, seed: 3 },
    );
  });
});
