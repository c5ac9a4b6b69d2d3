import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  drawProjection,
  exponentialForm,
  favorAttention,
  favorCausalAttention,
  hybridAttention,
  withRowFactors,
} from "../../src/index.ts";
import { normals } from "../features/samples.ts";

const [dim, count] = [16, 32];
const projection = { kind: "orthogonal", count, dim, seed: 1 } as const;
const description = { version: 1, kind: "positive", projection } as const;
const featureMap = createFeatureMap(description);
const rows = drawProjection(projection);

function ofLength(x: Float64Array, length: number): Float64Array {
  const norm = Math.hypot(...x);
  return x.map((value) => (value * length) / norm);
}

/** One query and two keys along one axis that almost agree, and the weight of the second, from logarithms. */
function draw(trial: number, length: number): { query: Float64Array; key: Float64Array; second: number } {
  const query = ofLength(normals(dim, 2 * trial), length);
  const direction = normals(dim, 2 * trial + 1);
  const key = Float64Array.from([...ofLength(direction, length), ...ofLength(direction, length + 0.01)]);
  const [first, second] = [0, 1].map((j) => {
    const k = key.subarray(j * dim, (j + 1) * dim);
    const half = k.reduce((sum, value) => sum + value * value, 0) / 2;
    const logs = Array.from({ length: count }, (_, m) =>
      k.reduce((sum, value, l) => sum + rows[m * dim + l]! * (value + query[l]!), -half),
    );
    const largest = Math.max(...logs);
    return largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0));
  });
  return { query, key, second: 1 / (1 + Math.exp(first! - second!)) };
}

const value = Float64Array.of(0, 1);

describe("long queries and keys that are large in different features", () => {
  it.each([100, 200, 1000, 10_000])("|q| = |k| = %i: as exact as a product of that size can be", (length) => {
    for (let trial = 0; trial < 50; trial++) {
      const { query, key, second } = draw(trial, length);
      const options = { featureMap, valueDim: 1 };
      const tolerance = 1e-15 * length * length * 100;
      expect(Math.abs(favorAttention(query, key, value, options)[0]! - second)).toBeLessThan(tolerance);
      const hybrid = hybridAttention(query, key, value, { ...options, dim, window: 0 });
      expect(Math.abs(hybrid[0]! - second)).toBeLessThan(tolerance);
    }
  });

  it("a hidden key has no effect, however large it is", () => {
    const { query, key } = draw(3, 200);
    const hidden = Float64Array.from([...key, ...key.map((x) => 0.01 * x), ...key.map((x) => 30 * x)]);
    const keyMask = [1, 1, 0, 0, 0, 0];
    const values = Float64Array.of(0, 1, NaN, NaN, NaN, NaN);
    const out = favorAttention(query, hidden, values, { featureMap, valueDim: 1, keyMask });
    expect(out).toEqual(favorAttention(query, key, value, { featureMap, valueDim: 1 }));
  });

  it("row factors are not left out", () => {
    const { query, key } = draw(3, 0.5);
    const withFactor = withRowFactors(featureMap, { keyFactor: { value: (x) => x[0]! ** 2 + 1 } });
    const [a, b] = [featureMap, withFactor].map(
      (map) =>
        favorAttention(
          query,
          key.map((x, l) => (l < dim ? 2 * x : x)),
          value,
          { featureMap: map, valueDim: 1 },
        )[0]!,
    );
    expect(a).not.toBeCloseTo(b!, 3);
  });

  it("token by token, up to 350 / |w| (README, Guarantees and limits)", () => {
    let longest = 0;
    for (let m = 0; m < count; m++) longest = Math.max(longest, Math.hypot(...rows.subarray(m * dim, (m + 1) * dim)));
    expect(exponentialForm(description).queryProjection).toEqual(rows);
    for (let trial = 0; trial < 50; trial++) {
      const { query, key, second } = draw(trial, 350 / longest);
      const twice = Float64Array.from([...query, ...query]);
      const out = favorCausalAttention(twice, key, value, { featureMap, valueDim: 1 });
      expect(Math.abs(out[1]! - second)).toBeLessThan(1e-9);
    }
  });
});
