import { ArgumentError } from "@favor/core";
import type { ElementwiseFunction } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import type { FeatureParameters } from "./feature-parameters.ts";
import { detached } from "./detached.ts";

/** Features and the exponents taken out of each row: phi = features * exp(logWeight). */
export interface WeightedFeatures {
  /** [groups, length, count] */
  readonly features: tf.Tensor;
  /** [groups, length] */
  readonly logWeight: tf.Tensor;
}

/** x `[groups, length, width]` times one matrix `[maps, width, out]` per map; groups are a multiple of maps. */
function project(x: tf.Tensor, matrices: tf.Tensor): tf.Tensor {
  const [groups, length, width] = x.shape as [number, number, number];
  const [maps, , out] = matrices.shape as [number, number, number];
  const rows = tf.reshape(x, [maps, (groups / maps) * length, width]);
  return tf.reshape(tf.matMul(rows as tf.Tensor3D, matrices as tf.Tensor3D), [groups, length, out]);
}

/** A value of each map, `[maps, 1, width]`, repeated for the groups of x. */
function perGroup(value: tf.Tensor, groups: number): tf.Tensor {
  const [maps, one, width] = value.shape as [number, number, number];
  // not tf.tile, whose gradient in tfjs is one slice and one sum per repetition
  const repeated = tf.mul(tf.expandDims(value, 1), tf.ones([1, groups / maps, 1, 1]));
  return tf.reshape(repeated, [groups, one, width]);
}

function centred(x: tf.Tensor, mean: tf.Tensor | undefined): tf.Tensor {
  return mean ? tf.sub(x, perGroup(mean, x.shape[0]!)) : x;
}

/**
 * phi(q) of x `[groups, length, dim]`, up to a factor per row, which cancels in the normaliser: `[groups, length,
 * count]`. Groups are ordered by map first. `t` holds the tensors of `parameters`; recomputation passes them in again.
 */
export function queryFeatures(
  x: tf.Tensor,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): tf.Tensor {
  if (!isExponential(parameters)) return directFeatures(x, parameters, t);
  return tf.softmax(project(transformedQueries(x, t), t["queryProjection"]!));
}

function transformedQueries(x: tf.Tensor, t: Readonly<Record<string, tf.Tensor>>): tf.Tensor {
  const difference = centred(x, t["queryMean"]);
  return t["queryMatrix"] ? project(difference, t["queryMatrix"]) : difference;
}

/**
 * phi(q) with its factor, const(q) of `ExponentialForm` in @favor/core included: next to exact keys it does not cancel.
 * Only for exponential maps.
 */
export function scaledQueryFeatures(
  x: tf.Tensor,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): WeightedFeatures {
  const transformed = transformedQueries(x, t);
  const logFeatures = project(transformed, t["queryProjection"]!);
  const largest = detached(() => tf.max(logFeatures, 2, true));
  let logWeight = tf.squeeze(largest, [2]);
  if (subtractsNorms(parameters)) logWeight = tf.sub(logWeight, halfNorms(transformed));
  if (t["keyMean"]) logWeight = tf.add(logWeight, tf.sum(tf.mul(x, perGroup(t["keyMean"], x.shape[0]!)), 2));
  return { features: tf.exp(tf.sub(logFeatures, largest)), logWeight };
}

/** phi(k) of x `[groups, length, dim]`, with the largest exponent of each row taken out (docs/adr/0002). */
export function keyFeatures(
  x: tf.Tensor,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): WeightedFeatures {
  if (!isExponential(parameters)) {
    const features = directFeatures(x, parameters, t);
    const logWeight = parameters.kind === "trigonometric" ? halfNorms(x) : tf.zeros(x.shape.slice(0, 2));
    return { features, logWeight };
  }
  const difference = centred(x, t["keyMean"]);
  const transformed = t["keyMatrix"] ? project(difference, t["keyMatrix"]) : difference;
  let logFeatures = project(transformed, t["keyProjection"]!);
  // with a core, the weight of a query feature is applied after it
  if (!t["core"]) logFeatures = tf.add(logFeatures, perGroup(t["logWeight"]!, x.shape[0]!));
  const largest = detached(() => tf.max(logFeatures, 2, true));
  const features = tf.exp(tf.sub(logFeatures, largest));
  let logWeight = tf.squeeze(largest, [2]);
  if (subtractsNorms(parameters)) logWeight = tf.sub(logWeight, halfNorms(transformed));
  if (t["keyWeight"]) logWeight = tf.add(logWeight, tf.squeeze(project(difference, t["keyWeight"]), [2]));
  return { features, logWeight };
}

/**
 * diag(exp(logWeight)) C of landmark features, `[maps, count, count]`, rows for query features; undefined without a
 * core.
 */
function weightedCore(t: Readonly<Record<string, tf.Tensor>>): tf.Tensor | undefined {
  return t["core"] && tf.mul(t["core"], tf.exp(tf.transpose(t["logWeight"]!, [0, 2, 1])));
}

/** Applies the core, if there is one, to query features `[groups, length, count]`. */
export function queriesThroughCore(features: tf.Tensor, t: Readonly<Record<string, tf.Tensor>>): tf.Tensor {
  const core = weightedCore(t);
  return core ? project(features, core) : features;
}

/** Applies the core, if there is one, to sums over keys `[groups, count, width]`. */
export function sumsThroughCore(sums: tf.Tensor, t: Readonly<Record<string, tf.Tensor>>): tf.Tensor {
  const core = weightedCore(t);
  if (!core) return sums;
  const [groups, count] = sums.shape as [number, number, number];
  const [maps] = core.shape as [number, number, number];
  const repeated = tf.mul(tf.expandDims(core, 1), tf.ones([1, groups / maps, 1, 1]));
  return tf.matMul(tf.reshape(repeated, [groups, count, count]), sums);
}

function isExponential({ kind }: FeatureParameters): boolean {
  return kind !== "trigonometric" && kind !== "generalized" && kind !== "elu" && kind !== "squared-relu";
}

function subtractsNorms({ description }: FeatureParameters): boolean {
  return description.kind !== "landmark" && (description.kind !== "linear-exponential" || description.subtractNorms);
}

/** |x|^2 / 2 of each row, `[groups, length]`. */
function halfNorms(x: tf.Tensor): tf.Tensor {
  return tf.mul(0.5, tf.sum(tf.square(x), 2));
}

/** Features without exponents, the same for queries and keys; for trigonometric maps, their waves. */
function directFeatures(
  x: tf.Tensor,
  { description }: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): tf.Tensor {
  switch (description.kind) {
    case "elu":
      return tf.add(tf.elu(x), 1);
    case "squared-relu":
      return tf.square(tf.relu(x));
    case "trigonometric": {
      const angles = project(x, t["projection"]!);
      if (t["phase"]) return tf.cos(tf.add(angles, perGroup(t["phase"], x.shape[0]!)));
      return tf.concat([tf.cos(angles), tf.sin(angles)], 2);
    }
    case "generalized":
      return tf.add(elementwise[description.function](project(x, t["projection"]!)), description.epsilon ?? 1e-3);
    default:
      throw new ArgumentError("featureMap.kind", "a feature map without exponents", description.kind);
  }
}

const geluScale = Math.sqrt(2 / Math.PI);

/** As `elementwiseFunctions` of @favor/core: gelu is the tanh approximation. */
const elementwise: Readonly<Record<ElementwiseFunction, (x: tf.Tensor) => tf.Tensor>> = {
  relu: (x) => tf.relu(x),
  exp: (x) => tf.exp(x),
  abs: (x) => tf.abs(x),
  cos: (x) => tf.cos(x),
  gelu: (x) => {
    const inner = tf.mul(geluScale, tf.add(x, tf.mul(0.044715, tf.mul(x, tf.square(x)))));
    return tf.mul(tf.mul(0.5, x), tf.add(1, tf.tanh(inner)));
  },
  identity: (x) => x,
  sigmoid: (x) => tf.sigmoid(x),
  softplus: (x) => tf.softplus(x),
  "squared-relu": (x) => tf.square(tf.relu(x)),
  tanh: (x) => tf.tanh(x),
};
