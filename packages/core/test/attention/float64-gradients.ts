import {
  causalLinearAttentionBackward,
  elementwiseFeatures32,
  exponentialFeatures32,
  exponentialForm,
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
import { Sampler } from "./samples.ts";

export interface Size {
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
export interface Sample {
  readonly shape: AttentionShape & { readonly keyHeads: number; readonly valueDim: number };
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly gradient: Float32Array;
  readonly options: MaskOptions;
  readonly count: number;
}

export function draw(size: Size, causal: boolean, magnitude: number): Sample {
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

export interface Gradients64 {
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
export function exactGradients(sample: Sample, scale: number): Gradients64 {
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
export function favorGradients(sample: Sample, maps: readonly FeatureMap[], scale: number): Gradients64 {
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
export function zeroRows(array: Float32Array, width: number): boolean[] {
  return Array.from({ length: array.length / width }, (_, j) =>
    array.subarray(j * width, (j + 1) * width).every((x) => x === 0),
  );
}

/**
 * Errors relative to the largest number of each gradient, or to a tenth of the terms that it is the sum of, |g||v| times
 * what is multiplied with them, summed over as many queries as there are to a key. With one feature or one key attention depends on neither query nor key: all
 * cancels, over all rows, and the errors are relative to ten times the terms.
 */
export function gradientError(
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

export const kinds = {
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
  weighted: ({ dim, count, seed }: Size) => ({
    ...({ version: 1, kind: "generalized", function: "sigmoid", keyFactor: "exp-half-square" } as const),
    projection: { kind: "orthogonal", count, dim, seed } as const,
  }),
  softplus: ({ dim, count, seed }: Size) => ({
    ...({ version: 1, kind: "generalized", function: "softplus" } as const),
    projection: { kind: "iid", count, dim, seed } as const,
  }),
  elu: ({ dim }: Size) => ({ version: 1, kind: "elu", dim }) as const,
} satisfies Record<string, (size: Size) => FeatureMapDescription>;

export function features32(description: FeatureMapDescription, scale: number): FeatureMap32 {
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
export function differences(
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

export const single: Size = {
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
