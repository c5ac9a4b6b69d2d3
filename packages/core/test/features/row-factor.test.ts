import { describe, expect, it } from "vitest";
import {
  createFeatureMap,
  exactAttention,
  favorAttention,
  favorCausalAttention,
  generalizedAttention,
  generalizedFeatureMap,
  hybridAttention,
  withRowFactors,
} from "../../src/index.ts";
import type { FeatureMapDescription, RowFactor } from "../../src/index.ts";
import { relativeError } from "../attention/samples.ts";
import { dotRows, normals } from "./samples.ts";

const [rows, dim] = [24, 3];
const [query, key, value] = [normals(rows * dim, 1, 0.8), normals(rows * dim, 2, 0.8), normals(rows * dim, 3)];
const keyMask = Array.from({ length: rows }, (_, j) => [1, 0, 0.5][j % 3]!);
const projection = { kind: "orthogonal", count: 16, dim, seed: 1 } as const;

const squares = (x: Float64Array): number => x.reduce((sum, each) => sum + each * each, 0);
const renormaliser = (x: Float64Array): number => Math.exp(squares(x) / 2);
const gaussian = (q: Float64Array, k: Float64Array): number => Math.exp(-squares(q.map((v, l) => v - k[l]!)) / 2);
const softmaxKernel = (q: Float64Array, k: Float64Array): number => Math.exp(dotRows(q, k, 0, 0, dim));
const constant = (_: Float64Array, k: Float64Array): number => (Number.isNaN(k[0]) ? NaN : 1);
/** Factors of both signs. */
const g: RowFactor = { value: (x) => 1 + x[0]!, gradient: (x) => x.map((_, l) => (l === 0 ? 1 : 0)) };
const h: RowFactor = {
  value: (x) => 2 + squares(x) + x[1]!,
  gradient: (x) => x.map((v, l) => 2 * v + (l === 1 ? 1 : 0)),
};

it.each([{ causal: false }, { causal: true }, { causal: true, keyMask }])(
  "generalized attention with the kernel exp(q.k) is softmax, %j",
  (options) => {
    const expected = exactAttention(query, key, value, { dim, ...options });
    expect(
      relativeError(generalizedAttention(query, key, value, { dim, kernel: softmaxKernel, ...options }), expected),
    ).toBeLessThan(1e-14);
    // The same, from a Gaussian kernel between the renormalisers of the paper.
    const renormalised = { dim, kernel: gaussian, queryFactor: renormaliser, keyFactor: renormaliser, ...options };
    expect(relativeError(generalizedAttention(query, key, value, renormalised), expected)).toBeLessThan(1e-13);
  },
);

it("a row without weight is 0, and hidden keys are never read", () => {
  const options = { dim, kernel: constant, queryFactor: (q: Float64Array) => (q[0] === query[0] ? 0 : 1) };
  expect(generalizedAttention(query, key, value, options).subarray(0, dim)).toEqual(new Float64Array(dim));
  const spoiled = key.slice().fill(NaN, dim, 2 * dim);
  expect(generalizedAttention(query, spoiled, value, { dim, kernel: constant, keyMask }).every(Number.isFinite)).toBe(
    true,
  );
});

const descriptions: FeatureMapDescription[] = [
  { version: 1, kind: "positive", projection },
  { version: 1, kind: "trigonometric", variant: "pair", projection },
  { version: 1, kind: "generalized", function: "relu", projection },
  { version: 1, kind: "elu", dim },
];

describe.each(descriptions.map((each) => [each.kind, each] as const))(
  "g and h with %s features",
  (_kind, description) => {
    const base = createFeatureMap(description);
    const kernel = (q: Float64Array, k: Float64Array) => dotRows(base.query(q), base.key(k), 0, 0, base.count);

    it("give generalized attention of the kernel that they estimate, both ways, causal and masked", () => {
      const featureMap = withRowFactors(base, { queryFactor: g, keyFactor: h });
      for (const mask of [undefined, keyMask]) {
        for (const causal of [false, true]) {
          const masked = mask && { keyMask: mask };
          const attend = causal ? favorCausalAttention : favorAttention;
          const factors = { queryFactor: g.value, keyFactor: h.value };
          const expected = generalizedAttention(query, key, value, { dim, kernel, causal, ...factors, ...masked });
          expect(relativeError(attend(query, key, value, { featureMap, ...masked }), expected)).toBeLessThan(1e-10);
        }
      }
    });

    it("multiply phi, stabilised or not", () => {
      const map = withRowFactors(base, { queryFactor: g, keyFactor: h });
      const scaled = (features: Float64Array, x: Float64Array, factor: RowFactor) =>
        features.map((phi, i) => {
          const row = Math.floor(i / base.count);
          return phi * factor.value(x.subarray(row * dim, (row + 1) * dim));
        });
      expect(relativeError(map.query(query), scaled(base.query(query), query, g))).toBeLessThan(1e-13);
      expect(relativeError(map.key(key), scaled(base.key(key), key, h))).toBeLessThan(1e-13);
      for (const scope of ["all", "row"] as const) {
        const { features, logScale } = map.keyStabilized(key, { scope });
        const back = features.map(
          (phi, i) => phi * Math.exp(logScale[scope === "all" ? 0 : Math.floor(i / base.count)]!),
        );
        expect(relativeError(back, map.key(key))).toBeLessThan(1e-12);
      }
    });

    it("have gradients, those of finite differences", () => {
      const map = withRowFactors(base, { queryFactor: g, keyFactor: h });
      const upstream = normals(rows * base.count, 4);
      const logScale = normals(rows, 5, 0.3);
      for (const [of, backward] of [
        [map.query, map.queryBackward],
        [map.key, map.keyBackward],
      ] as const) {
        const objective = (x: Float64Array) =>
          of(x).reduce((sum, phi, i) => sum + phi * upstream[i]! * Math.exp(-logScale[Math.floor(i / base.count)]!), 0);
        const gradient = backward(query, upstream, logScale);
        const numeric = query.map((_, at) => {
          const moved = (step: number) => objective(query.map((v, i) => (i === at ? v + step : v)));
          return (moved(1e-6) - moved(-1e-6)) / 2e-6;
        });
        expect(relativeError(gradient, numeric)).toBeLessThan(1e-6);
      }
    });
  },
);

it("a factor by name is the function of that name, and one of a description the same", () => {
  const base = createFeatureMap(descriptions[2]!);
  for (const [name, exponent] of [
    ["exp-half-square", 0.5],
    ["exp-minus-half-square", -0.5],
  ] as const) {
    const factor: RowFactor = { value: (x) => Math.exp(exponent * squares(x)) };
    const own = withRowFactors(base, { queryFactor: factor, keyFactor: factor });
    const named = withRowFactors(base, { queryFactor: name, keyFactor: name });
    const described = createFeatureMap({
      version: 1,
      kind: "generalized",
      function: "relu",
      projection,
      queryFactor: name,
      keyFactor: name,
    });
    for (const map of [named, described]) {
      expect(relativeError(map.query(query), own.query(query))).toBeLessThan(1e-14);
      expect(relativeError(map.key(key), own.key(key))).toBeLessThan(1e-14);
    }
  }
});

it("neither over- nor underflows where the factor itself would", () => {
  const description = { version: 1, kind: "generalized", function: "relu", projection } as const;
  const far = key.map((x) => 60 * x);
  for (const keyFactor of ["exp-half-square", "exp-minus-half-square"] as const) {
    const featureMap = generalizedFeatureMap({ ...description, keyFactor });
    for (const attend of [favorAttention, favorCausalAttention]) {
      expect(attend(far, far, value, { featureMap }).every(Number.isFinite)).toBe(true);
    }
  }
});

it("names what is wrong with a factor, and softmax's exact keys refuse any", () => {
  const base = createFeatureMap(descriptions[0]!);
  expect(() => withRowFactors(base, { keyFactor: "exp" as never })).toThrow(
    /^factors\.keyFactor: expected exp-half-square/,
  );
  const featureMap = withRowFactors(base, { keyFactor: { value: () => 1 } });
  expect(() => featureMap.keyBackward(key, new Float64Array(rows * base.count).fill(1))).toThrow(
    "factors.keyFactor.gradient",
  );
  expect(() => hybridAttention(query, key, value, { dim, featureMap, window: 4 })).toThrow("one without row factors");
});
