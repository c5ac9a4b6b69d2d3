import { RandomStream, createFeatureMap, favorAttention, favorCausalAttention, streamPurpose } from "@favor/core";
import type { FeatureMapDescription, ProjectionDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";

export interface Shape {
  readonly batch: number;
  readonly heads: number;
  readonly length: number;
  readonly dim: number;
  readonly valueDim: number;
}

export function gaussians(length: number, seed: number, scale = 1): Float32Array {
  const stream = new RandomStream({ seed, purpose: streamPurpose.trials });
  return Float32Array.from(stream.gaussians(length), (x) => scale * x);
}

export interface Sample {
  readonly q: Float32Array | Float64Array;
  readonly k: Float32Array | Float64Array;
  readonly v: Float32Array | Float64Array;
}

export function sample({ batch, heads, length, dim, valueDim }: Shape, scale = 1, seed = 1): Sample {
  const rows = batch * heads * length;
  return {
    q: gaussians(rows * dim, 3 * seed, scale),
    k: gaussians(rows * dim, 3 * seed + 1, scale),
    v: gaussians(rows * valueDim, 3 * seed + 2),
  };
}

export function tensors(
  { q, k, v }: Sample,
  { batch, heads, length, dim, valueDim }: Shape,
): [tf.Tensor, tf.Tensor, tf.Tensor] {
  const shape = [batch, heads, length];
  const tensor = (x: Float32Array | Float64Array, width: number): tf.Tensor =>
    tf.tensor(Float32Array.from(x), [...shape, width]);
  return [tensor(q, dim), tensor(k, dim), tensor(v, valueDim)];
}

/** Attention by @favor/core in float64, head by head. */
export function reference(
  { q, k, v }: Sample,
  { batch, heads, length, dim, valueDim }: Shape,
  maps: readonly FeatureMapDescription[],
  { mask, causal = false }: { mask?: readonly number[]; causal?: boolean } = {},
): Float64Array {
  const out = new Float64Array(batch * heads * length * valueDim);
  const scaled = (x: Float32Array | Float64Array, from: number): Float64Array =>
    Float64Array.from(x.subarray(from, from + length * dim), (value) => value * dim ** -0.25);
  for (let b = 0; b < batch; b++) {
    for (let h = 0; h < heads; h++) {
      const at = (b * heads + h) * length;
      const featureMap = createFeatureMap(maps[maps.length === 1 ? 0 : h]!);
      const keyMask = mask?.slice(b * length, (b + 1) * length);
      const value = Float64Array.from(v.subarray(at * valueDim, (at + length) * valueDim));
      const attend = causal ? favorCausalAttention : favorAttention;
      const options = { featureMap, valueDim, ...(keyMask && { keyMask }) };
      out.set(attend(scaled(q, at * dim), scaled(k, at * dim), value, options), at * valueDim);
    }
  }
  return out;
}

const landmarkArrays = (dim: number, count: number, seed: number) => ({
  dim,
  count,
  queryMean: [...gaussians(dim, seed, 0.1)],
  keyMean: [...gaussians(dim, seed + 1, 0.1)],
  queryMatrix: [...gaussians(dim * dim, seed + 2, 0.1)].map((x, i) => x + (i % (dim + 1) === 0 ? 1 : 0)),
  keyMatrix: [...gaussians(dim * dim, seed + 3, 0.1)].map((x, i) => x + (i % (dim + 1) === 0 ? 1 : 0)),
  logWeight: [...gaussians(count, seed + 6, 0.3)],
});

/** One description of every kind. */
export function everyMap(dim: number, count: number, head = 0): Readonly<Record<string, FeatureMapDescription>> {
  const projection: ProjectionDescription = { kind: "orthogonal", count, dim, seed: 5, head };
  const a = Array.from({ length: dim }, (_, l) => -0.02 * (l + 1));
  const arrays = landmarkArrays(dim, count, 40 + head);
  return {
    positive: { version: 1, kind: "positive", projection },
    hyperbolic: { version: 1, kind: "hyperbolic", projection },
    oprf: { version: 1, kind: "oprf", projection, a: -0.05 },
    "dense-exponential": { version: 1, kind: "dense-exponential", projection, a },
    calibrated: {
      version: 1,
      kind: "calibrated",
      projection,
      a,
      queryMean: arrays.queryMean,
      keyMean: arrays.keyMean,
      queryMatrix: arrays.queryMatrix,
      keyMatrix: arrays.keyMatrix,
    },
    landmark: {
      version: 1,
      kind: "landmark",
      ...arrays,
      keyLandmarks: [...gaussians(dim * count, 80)],
      queryLandmarks: [...gaussians(dim * count, 81)],
      core: [...gaussians(count * count, 82)].map(Math.abs),
    },
    "linear-exponential": {
      version: 1,
      kind: "linear-exponential",
      ...arrays,
      keyWeight: [...gaussians(dim, 83, 0.3)],
      queryProjection: [...gaussians(dim * count, 84)],
      keyProjection: [...gaussians(dim * count, 85)],
      subtractNorms: true,
      // heads with a core beside heads without
      ...(head === 1 && { core: [...gaussians(count * count, 86)].map(Math.abs) }),
    },
    "trigonometric phase": { version: 1, kind: "trigonometric", variant: "phase", projection },
    "trigonometric pair": { version: 1, kind: "trigonometric", variant: "pair", projection },
    "generalized relu": { version: 1, kind: "generalized", projection, function: "relu" },
    "generalized gelu": { version: 1, kind: "generalized", projection, function: "gelu", epsilon: 0.5 },
    "generalized softplus": { version: 1, kind: "generalized", projection, function: "softplus", epsilon: 0 },
    "generalized exp": { version: 1, kind: "generalized", projection, function: "exp" },
    "generalized sigmoid, h": {
      version: 1,
      kind: "generalized",
      projection,
      function: "sigmoid",
      keyFactor: "exp-half-square",
    },
    elu: { version: 1, kind: "elu", dim },
    "squared-relu": { version: 1, kind: "squared-relu", dim },
  };
}

/** max |a - b| / max |b|. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let [difference, largest] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const distance = Math.abs(actual[i]! - expected[i]!);
    if (Number.isNaN(distance)) return Infinity;
    difference = Math.max(difference, distance);
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / (largest || 1);
}
