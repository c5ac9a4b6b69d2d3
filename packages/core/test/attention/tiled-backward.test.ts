import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  causalLinearAttentionBackward,
  createFeatureMap,
  createKernels,
  elementwiseFeatures32,
  exactAttention,
  exactAttentionBackward32,
  exponentialFeatures32,
  exponentialForm,
  favorAttention,
  favorAttentionBackward32,
  favorCausalAttention,
  linearAttentionBackward,
  trigonometricFeatures32,
} from "../../src/index.ts";
import type {
  AttentionGradients32,
  AttentionShape,
  FeatureMap,
  FeatureMap32,
  FeatureMapDescription,
  LandmarkDescription,
  MaskOptions,
} from "../../src/index.ts";
import { exponentialFeatureMap } from "../../src/features/exponential-form.ts";
import { runnableKernels } from "../kernels/engine.ts";
import { Sampler } from "./samples.ts";

interface Size {
  readonly group: number;
  readonly keyHeads: number;
  readonly queryRows: number;
  readonly keyRows: number;
  readonly dim: number;
  readonly valueDim: number;
  readonly count: number;
  readonly masked: boolean;
  readonly seed: number;
}
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

interface Sample {
  readonly shape: AttentionShape & { readonly keyHeads: number; readonly valueDim: number };
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly gradient: Float32Array;
  readonly options: MaskOptions;
  readonly count: number;
}

function draw(size: Size, causal: boolean, magnitude: number): Sample {
  const sampler = new Sampler(size.seed);
  const { group, keyHeads, queryRows, dim, valueDim, masked } = size;
  const keyRows = causal ? queryRows : size.keyRows;
  const numbers = (length: number, scale = 1) => Float32Array.from(sampler.normals(length, scale));
  const keyMask = Array.from({ length: keyRows }, () => [0, 1, 0.3][Math.floor(sampler.uniform() * 3)]!);
  return {
    shape: { heads: group * keyHeads, keyHeads, queryRows, keyRows, dim, valueDim },
    query: numbers(group * keyHeads * queryRows * dim, magnitude),
    key: numbers(keyHeads * keyRows * dim, magnitude),
    value: numbers(keyHeads * keyRows * valueDim),
    gradient: numbers(group * keyHeads * queryRows * valueDim),
    options: masked ? { causal, keyMask } : { causal },
    count: size.count,
  };
}

interface Gradients64 {
  readonly query: Float64Array;
  readonly key: Float64Array;
  readonly value: Float64Array;
}

/** Gradients key head by key head, from those of one key head with its group of query heads. */
function byKeyHead(
  { shape, query, key, value, gradient }: Sample,
  differentiate: (part: Gradients64 & { readonly gradient: Float64Array; readonly group: number }) => Gradients64,
): Gradients64 {
  const { keyHeads } = shape;
  const out = { query: Float64Array.from(query), key: Float64Array.from(key), value: Float64Array.from(value) };
  for (let head = 0; head < keyHeads; head++) {
    const part = (array: Float32Array) =>
      Float64Array.from(array.subarray((head * array.length) / keyHeads, ((head + 1) * array.length) / keyHeads));
    const group = shape.heads / keyHeads;
    const result = differentiate({
      query: part(query),
      key: part(key),
      value: part(value),
      gradient: part(gradient),
      group,
    });
    for (const name of ["query", "key", "value"] as const) out[name].set(result[name], head * result[name].length);
  }
  return out;
}

/** The gradients of softmax attention by its definition: dS = P (dP - rowsum(P dP)). */
function exactGradients(sample: Sample, scale: number): Gradients64 {
  const { queryRows, keyRows, dim, valueDim } = sample.shape;
  const { keyMask, causal } = sample.options;
  return byKeyHead(sample, ({ query, key, value, gradient, group }) => {
    const d = {
      query: new Float64Array(query.length),
      key: new Float64Array(key.length),
      value: new Float64Array(value.length),
    };
    for (let i = 0; i < group * queryRows; i++) {
      const seen = causal ? (i % queryRows) + keyRows - queryRows + 1 : keyRows;
      const logits = Array.from({ length: seen }, (_, j) => {
        let sum = 0;
        for (let l = 0; l < dim; l++) sum += query[i * dim + l]! * key[j * dim + l]!;
        return scale * sum + Math.log(keyMask?.[j] ?? 1);
      });
      const largest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
      if (largest === -Infinity) continue;
      const weights = logits.map((x) => Math.exp(x - largest));
      const total = weights.reduce((a, b) => a + b, 0);
      const probabilities = weights.map((x) => x / total);
      const towards = probabilities.map((p, j) => {
        let sum = 0;
        for (let c = 0; c < valueDim; c++) {
          const g = gradient[i * valueDim + c]!;
          sum += g * value[j * valueDim + c]!;
          d.value[j * valueDim + c]! += p * g;
        }
        return sum;
      });
      const mean = towards.reduce((sum, x, j) => sum + x * probabilities[j]!, 0);
      for (const [j, p] of probabilities.entries()) {
        const score = scale * p * (towards[j]! - mean);
        for (let l = 0; l < dim; l++) {
          d.query[i * dim + l]! += score * key[j * dim + l]!;
          d.key[j * dim + l]! += score * query[i * dim + l]!;
        }
      }
    }
    return d;
  });
}

/** The gradients of FAVOR in float64: those of the algebra, through the reference's feature map. */
function favorGradients(sample: Sample, maps: readonly FeatureMap[], scale: number): Gradients64 {
  const { queryRows, keyRows, valueDim } = sample.shape;
  const { keyMask, causal } = sample.options;
  const root = Math.sqrt(scale);
  const remaining = [...maps];
  return byKeyHead(sample, ({ query, key, value, gradient, group }) => {
    const map = remaining.shift()!;
    const [q, k] = [query.map((x) => x * root), key.map((x) => x * root)];
    const queries = map.queryStabilized(q);
    const keys = map.keyStabilized(k, { scope: "row" });
    const shape = { heads: group, keyHeads: 1, queryRows, keyRows, count: map.count, valueDim };
    const input = { query: queries.features, key: keys.features, keyLogScale: keys.logScale, value };
    const backward = causal ? causalLinearAttentionBackward : linearAttentionBackward;
    const d = backward({ ...input, ...(keyMask && { keyMask }) }, shape, gradient);
    return {
      query: map.queryBackward(q, d.query, queries.logScale).map((x) => x * root),
      key: map.keyBackward(k, d.key, keys.logScale).map((x) => x * root),
      value: d.value,
    };
  });
}

function largestOf(array: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < array.length; i++) largest = Math.max(largest, Math.abs(array[i]!));
  return largest;
}

/** Which rows of this width are all 0. */
function zeroRows(array: Float32Array, width: number): boolean[] {
  return Array.from({ length: array.length / width }, (_, j) =>
    array.subarray(j * width, (j + 1) * width).every((x) => x === 0),
  );
}

/**
 * Errors relative to the largest number of each gradient, or to a tenth of the terms that it is the sum of, |g||v| times
 * what is multiplied with them, summed over as many queries as there are to a key. With one feature or one key attention depends on neither query nor key: all
 * cancels, over all rows, and the errors are relative to ten times the terms.
 */
function gradientError(
  actual: AttentionGradients32,
  expected: Gradients64,
  { gradient, value, query, key, shape, options, count }: Sample,
  method: "exact" | "FAVOR",
): number {
  const inner = largestOf(gradient) * largestOf(value);
  const exact = method === "exact";
  const { keyMask } = options;
  const keys = keyMask ? Array.from(keyMask).filter((x) => x > 0).length : shape.keyRows;
  const rows = Math.max(1, (shape.queryRows * shape.heads) / shape.keyHeads / Math.max(1, keys));
  const terms = {
    query: inner * (exact ? largestOf(key) : 1),
    key: rows * inner * (exact ? largestOf(query) : 1),
    value: rows * largestOf(gradient),
  };
  const cancels = keys === 1 || (!exact && count === 1);
  let worst = 0;
  for (const name of ["query", "key", "value"] as const) {
    if (actual[name].length !== expected[name].length) return Infinity;
    const size = Math.max(largestOf(expected[name]), (cancels ? 10 : 0.1) * terms[name]) || 1;
    for (let i = 0; i < actual[name].length; i++) {
      const error = Math.abs(actual[name][i]! - expected[name][i]!) / size;
      if (Number.isNaN(error)) return Infinity;
      worst = Math.max(worst, error);
    }
  }
  return worst;
}

/** Landmark features: a core, means, matrices and weights, no norm. */
function landmark({ dim, count, seed }: Size): LandmarkDescription {
  const sampler = new Sampler(seed + 1);
  const numbers = (length: number, scale = 1) => Array.from(sampler.normals(length, scale));
  const matrix = () => numbers(dim * dim, 0.2 / dim).map((x, i) => x + (i % (dim + 1) === 0 ? 1 : 0));
  return {
    version: 1,
    kind: "landmark",
    dim,
    count,
    queryMean: numbers(dim, 0.3),
    keyMean: numbers(dim, 0.3),
    queryMatrix: matrix(),
    keyMatrix: matrix(),
    keyLandmarks: numbers(count * dim, 0.5),
    queryLandmarks: numbers(count * dim, 0.5),
    logWeight: numbers(count, 0.5),
    core: Array.from(sampler.positives(count * count)),
  };
}

const kinds = {
  positive: ({ dim, count, seed }: Size) => ({
    ...({ version: 1, kind: "positive" } as const),
    projection: { kind: "orthogonal", count, dim, seed } as const,
  }),
  calibrated({ dim, count, seed }: Size) {
    const { queryMean, keyMean, queryMatrix, keyMatrix } = landmark({ dim, count, seed } as Size);
    const projection = { kind: "orthogonal", count, dim, seed } as const;
    const a = Array.from({ length: dim }, (_, l) => -0.1 - 0.01 * l);
    return { version: 1, kind: "calibrated", projection, a, queryMean, keyMean, queryMatrix, keyMatrix } as const;
  },
  landmark,
  // f' / f is up to 1 / epsilon, and with it what a rounding error becomes
  relu: ({ dim, count, seed }: Size) => ({
    ...({ version: 1, kind: "generalized", function: "relu", epsilon: 0.1 } as const),
    projection: { kind: "orthogonal", count, dim, seed } as const,
  }),
  softplus: ({ dim, count, seed }: Size) => ({
    ...({ version: 1, kind: "generalized", function: "softplus" } as const),
    projection: { kind: "iid", count, dim, seed } as const,
  }),
  elu: ({ dim }: Size) => ({ version: 1, kind: "elu", dim }) as const,
} satisfies Record<string, (size: Size) => FeatureMapDescription>;

function features32(description: FeatureMapDescription, scale: number): FeatureMap32 {
  switch (description.kind) {
    case "trigonometric":
      return trigonometricFeatures32(description, { scale });
    case "generalized":
    case "elu":
    case "squared-relu":
      return elementwiseFeatures32(description, { scale });
    default:
      return exponentialFeatures32(exponentialForm(description), { scale });
  }
}

/** Central differences in float64 of sum(gradient * attend(q, k, v)), one head. */
function differences(
  sample: Sample,
  attend: (query: Float64Array, key: Float64Array, value: Float64Array) => Float64Array,
): Gradients64 {
  const inputs = [sample.query, sample.key, sample.value].map((array) => Float64Array.from(array));
  const loss = (at: Float64Array[]) =>
    attend(at[0]!, at[1]!, at[2]!).reduce((sum, x, i) => sum + x * sample.gradient[i]!, 0);
  const [query, key, value] = inputs.map((array, n) =>
    array.map((_, i) => {
      const moved = (step: number) =>
        inputs.map((other, o) => (o === n ? other.map((x, j) => x + (i === j ? step : 0)) : other));
      return (loss(moved(1e-5)) - loss(moved(-1e-5))) / 2e-5;
    }),
  );
  return { query: query!, key: key!, value: value! };
}

const single: Size = {
  group: 1,
  keyHeads: 1,
  queryRows: 9,
  keyRows: 9,
  dim: 3,
  valueDim: 2,
  count: 6,
  masked: true,
  seed: 12,
};

describe.each(runnableKernels)("float32 backward passes, simd: %s", (simd) => {
  const kernels = createKernels({ simd });

  it.each([false, true])("exact, against its definition in float64, causal: %s", (causal) => {
    fc.assert(
      fc.property(sizes, fc.constantFrom(0, 1e-10, 1), (size, magnitude) => {
        const sample = draw(size, causal, magnitude);
        const { query, key, value, shape, gradient, options } = sample;
        const actual = exactAttentionBackward32(kernels, query, key, value, shape, gradient, {
          ...options,
          scale: 0.6,
        });
        expect(gradientError(actual, exactGradients(sample, 0.6), sample, "exact")).toBeLessThan(1e-5);
      }),
      { numRuns: 10 },
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
          const actual = favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
          expect(
            gradientError(actual, favorGradients(sample, descriptions.map(createFeatureMap), 0.7), sample, "FAVOR"),
          ).toBeLessThan(1e-5);
        }),
        { numRuns: 10 },
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
      const actual = favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
      expect(
        gradientError(actual, favorGradients(sample, [createFeatureMap(description)], 0.7), sample, "FAVOR"),
      ).toBeLessThan(1e-5);
    }
  });

  it.each([false, true])("agree with finite differences, causal: %s", (causal) => {
    const sample = draw(single, causal, 0.6);
    const { query, key, value, shape, gradient, options } = sample;
    const { dim, valueDim } = single;
    const exact = exactAttentionBackward32(kernels, query, key, value, shape, gradient, { ...options, scale: 0.5 });
    expect(
      gradientError(
        exact,
        differences(sample, (q, k, v) => exactAttention(q, k, v, { dim, valueDim, scale: 0.5, ...options })),
        sample,
        "exact",
      ),
    ).toBeLessThan(1e-5);
    const { keyMask } = options;
    for (const description of [kinds.calibrated(single), kinds.landmark(single), kinds.softplus(single)]) {
      const featureMap = createFeatureMap(description);
      const features = features32(description, 1);
      const actual = favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
      const attend = causal ? favorCausalAttention : favorAttention;
      expect(
        gradientError(
          actual,
          differences(sample, (q, k, v) => attend(q, k, v, { featureMap, valueDim, keyMask: keyMask! })),
          sample,
          "FAVOR",
        ),
      ).toBeLessThan(1e-5);
    }
  });

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
      const futures = name === "exact" ? [50, -1e4] : [50, -50, 1e4, Number.NaN];
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

  it("has room for d of 256 and M that is no multiple of it", () => {
    const large: Size = { ...single, queryRows: 70, keyRows: 66, dim: 256, valueDim: 33, count: 270 };
    const sample = draw(large, false, 0.03);
    const { query, key, value, shape, gradient, options } = sample;
    const description = kinds.positive(large);
    const features = features32(description, 1);
    const actual = favorAttentionBackward32(kernels, query, key, value, shape, features, gradient, options);
    const expected = favorGradients(sample, [createFeatureMap(description)], 1);
    expect(gradientError(actual, expected, sample, "FAVOR")).toBeLessThan(1e-5);
  });
});
