import { describe, expect, it } from "vitest";
import { createFeatureMap, elementwiseFunctions, generalizedFeatureMap } from "../../src/index.ts";
import { MomentAccumulator, calibrate, fitLandmarks } from "../../src/calibration/index.ts";
import type { ElementwiseFunction, FeatureMapDescription } from "../../src/index.ts";
import { exponentialEstimators, normals } from "./samples.ts";

const dim = 3;
const rows = 2;
const projection = { kind: "orthogonal", count: 5, dim, seed: 1 } as const;

function fitted(): FeatureMapDescription[] {
  const accumulator = new MomentAccumulator(dim);
  const input = { query: normals(30 * dim, 1), key: normals(30 * dim, 2).map((value) => value + 0.3) };
  accumulator.add(input.query, input.key);
  const moments = accumulator.moments();
  return [calibrate(moments, { count: 5, seed: 0 }), fitLandmarks([input], moments, { count: 5, seed: 0 })];
}

const descriptions: FeatureMapDescription[] = [
  ...exponentialEstimators(projection),
  ...fitted(),
  { version: 1, kind: "elu", dim },
  { version: 1, kind: "squared-relu", dim },
  {
    version: 1,
    kind: "generalized",
    projection,
    function: "softplus",
    queryFactor: "exp-minus-half-square",
    keyFactor: "exp-half-square",
  },
  ...(Object.keys(elementwiseFunctions) as ElementwiseFunction[]).map((name) => ({
    version: 1 as const,
    kind: "generalized" as const,
    projection,
    function: name,
  })),
];

/** The largest difference between a gradient and central differences of sum(upstream * f(x)), relative to its size. */
function gradientError(
  f: (x: Float64Array) => Float64Array,
  gradient: Float64Array,
  x: Float64Array,
  upstream: Float64Array,
): number {
  const objective = (at: Float64Array): number => f(at).reduce((sum, value, i) => sum + value * upstream[i]!, 0);
  const size = Math.max(...gradient.map(Math.abs));
  let worst = 0;
  for (let i = 0; i < x.length; i++) {
    const moved = (step: number): Float64Array => x.map((value, at) => (at === i ? value + step : value));
    const numeric = (objective(moved(1e-5)) - objective(moved(-1e-5))) / 2e-5;
    worst = Math.max(worst, Math.abs(numeric - gradient[i]!) / size);
  }
  return worst;
}

describe.each(descriptions.map((d) => [d.kind, "function" in d ? d.function : "", d] as const))(
  "gradient of %s %s",
  (_, __, description) => {
    const map = createFeatureMap(description);
    const x = normals(rows * dim, 7, 0.7);
    const upstream = normals(rows * map.count, 8);

    it("of queries and keys agrees with finite differences", () => {
      expect(gradientError(map.query, map.queryBackward(x, upstream), x, upstream)).toBeLessThan(1e-7);
      expect(gradientError(map.key, map.keyBackward(x, upstream), x, upstream)).toBeLessThan(1e-7);
    });

    it("with a log scale is the gradient of the scaled features, 0 for hidden rows", () => {
      const logScale = Float64Array.of(2, -Infinity);
      const expected = map.keyBackward(x.subarray(0, dim), upstream.subarray(0, map.count));
      const scaled = map.keyBackward(x, upstream, logScale);
      for (let i = 0; i < dim; i++) {
        expect(scaled[i]!).toBeCloseTo(expected[i]! * Math.exp(-2), 10);
        expect(Math.abs(scaled[dim + i]!)).toBe(0);
      }
      expect(() => map.queryBackward(x, upstream.subarray(1))).toThrow("upstream: expected");
      expect(() => map.queryBackward(x, upstream, new Float64Array(3))).toThrow("logScale: expected 2");
    });
  },
);

describe("gradient of a function of one's own", () => {
  const description = { version: 1, kind: "generalized", projection, function: "relu" } as const;

  it("needs its derivative", () => {
    const map = generalizedFeatureMap(description, { value: (x) => x * x * x });
    expect(() => map.queryBackward(new Float64Array(dim), new Float64Array(5))).toThrow("f.derivative");
    const known = generalizedFeatureMap(description, { value: (x) => x * x * x, derivative: (x) => 3 * x * x });
    const x = normals(dim, 3);
    const upstream = normals(5, 4);
    expect(gradientError(known.query, known.queryBackward(x, upstream), x, upstream)).toBeLessThan(1e-7);
  });
});
