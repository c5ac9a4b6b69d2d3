import { ArgumentError, rowFactorExponents } from "@favor/core";
import type { ElementwiseFunction } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { cosine, sine } from "../kernels/waves.ts";
import type { FeatureParameters } from "./feature-parameters.ts";
import { detached } from "./detached.ts";
import { leastNormaliser } from "./float-range.ts";

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
  if (!isExponential(parameters)) return directFeatures(x, parameters, t).features;
  return tf.softmax(logFeaturesOf(x, parameters, t) ?? project(transformedQueries(x, t), t["queryProjection"]!));
}

/**
 * log phi(q) of an exponential map, up to a number per row and the weights of keys: `[groups, length, count]`. The
 * weights of the features are in it.
 */
export function queryExponents(
  x: tf.Tensor,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): tf.Tensor {
  const direct = logFeaturesOf(x, parameters, t);
  if (direct) return direct;
  const logFeatures = project(transformedQueries(x, t), t["queryProjection"]!);
  return tf.add(logFeatures, perGroup(t["logWeight"]!, x.shape[0]!));
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
    const { features, logWeight } = directFeatures(x, parameters, t);
    return { features, logWeight: tf.add(logWeight, logKeyFactor(x, parameters)) };
  }
  const { perFeature, perKey } = keyExponents(x, parameters, t);
  // with a core, the weight of a query feature is applied after it
  const isWeighted = t["logWeight"] && !t["core"];
  const logFeatures = isWeighted ? tf.add(perFeature, perGroup(t["logWeight"]!, x.shape[0]!)) : perFeature;
  const largest = detached(() => tf.max(logFeatures, 2, true));
  return {
    features: tf.exp(tf.sub(logFeatures, largest)),
    logWeight: tf.add(tf.squeeze(largest, [2]), perKey),
  };
}

/** log phi_m(k) of an exponential map, without the weights of its features, is the sum of the two. */
interface KeyExponents {
  /** `[groups, length, count]` */
  readonly perFeature: tf.Tensor;
  /** `[groups, length]` */
  readonly perKey: tf.Tensor;
}

/** The exponents of an exponential map for keys `[groups, length, dim]`. */
export function keyExponents(
  x: tf.Tensor,
  parameters: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): KeyExponents {
  const direct = logFeaturesOf(x, parameters, t);
  if (direct) return { perFeature: direct, perKey: logKeyFactor(x, parameters) };
  const difference = centred(x, t["keyMean"]);
  const transformed = t["keyMatrix"] ? project(difference, t["keyMatrix"]) : difference;
  let perKey = subtractsNorms(parameters) ? tf.neg(halfNorms(transformed)) : tf.zeros(x.shape.slice(0, 2));
  if (t["keyWeight"]) perKey = tf.add(perKey, tf.squeeze(project(difference, t["keyWeight"]), [2]));
  return { perFeature: project(transformed, t["keyProjection"]!), perKey };
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

/** Whether phi is computed by its logarithm: all maps that are positive everywhere and may be very large or small. */
export function isExponential({ kind, description }: FeatureParameters): boolean {
  if (description.kind === "generalized") return description.function === "exp";
  return kind !== "trigonometric" && kind !== "squared-relu";
}

/** log phi of maps that are exponentials, but not of a linear function: `[groups, length, count]`. */
function logFeaturesOf(
  x: tf.Tensor,
  { description }: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): tf.Tensor | undefined {
  if (description.kind === "elu") return logEluFeatures(x);
  if (description.kind !== "generalized") return undefined;
  return logSum(project(x, t["projection"]!), description.epsilon ?? 1e-3);
}

function subtractsNorms({ description }: FeatureParameters): boolean {
  return description.kind !== "landmark" && (description.kind !== "linear-exponential" || description.subtractNorms);
}

/** |x|^2 / 2 of each row, `[groups, length]`. */
function halfNorms(x: tf.Tensor): tf.Tensor {
  return tf.mul(0.5, tf.sum(tf.square(x), 2));
}

/** log h(k) of generalized attention (2006.03555, section 2.2), `[groups, length]`; g(q) cancels in the normaliser. */
function logKeyFactor(x: tf.Tensor, { description }: FeatureParameters): tf.Tensor {
  const factor = description.kind === "generalized" ? description.keyFactor : undefined;
  if (factor === undefined) return tf.zeros(x.shape.slice(0, 2));
  return tf.mul(halfNorms(x), rowFactorExponents[factor]);
}

/** Features that are no exponentials, the same for queries and keys; for trigonometric maps, their waves. */
function directFeatures(
  x: tf.Tensor,
  { description }: FeatureParameters,
  t: Readonly<Record<string, tf.Tensor>>,
): WeightedFeatures {
  switch (description.kind) {
    case "squared-relu": {
      const { features, logWeight } = relativeToLargest(tf.relu(x), true);
      return { features: tf.square(features), logWeight: tf.mul(2, logWeight) };
    }
    case "trigonometric": {
      const angles = project(x, t["projection"]!);
      const waves = t["phase"]
        ? cosine(tf.add(angles, perGroup(t["phase"], x.shape[0]!)))
        : tf.concat([cosine(angles), sine(angles)], 2);
      return { features: waves, logWeight: halfNorms(x) };
    }
    case "generalized": {
      const { function: name, epsilon = 1e-3 } = description;
      if (name === "exp") break;
      const features = tf.add(elementwise[name](project(x, t["projection"]!)), epsilon);
      // no product of two is smaller than epsilon^2
      const isSafe = epsilon ** 2 >= leastNormaliser();
      return isSafe ? { features, logWeight: tf.zeros(x.shape.slice(0, 2)) } : relativeToLargest(features, false);
    }
  }
  throw new ArgumentError("featureMap.kind", "a feature map without exponents", description.kind);
}

/** log(elu(x) + 1), by parts: the sum loses the digits of negative x, and exp(x) ends at -103 in float32. */
function logEluFeatures(x: tf.Tensor): tf.Tensor {
  const isPositive = detached(() => tf.greater(x, 0));
  return tf.where(isPositive, tf.log(tf.add(tf.relu(x), 1)), tf.minimum(x, 0));
}

/** log(exp(x) + epsilon), which does not overflow. */
function logSum(x: tf.Tensor, epsilon: number): tf.Tensor {
  if (epsilon === 0) return x;
  const other = Math.log(epsilon);
  const difference = tf.sub(x, other);
  // the larger of the two, and what the smaller adds
  const added = tf.log(tf.add(1, tf.exp(tf.neg(tf.abs(difference)))));
  return tf.add(tf.add(tf.relu(difference), added), other);
}

/** Features `[groups, length, count]` of rows of any scale, so that no product of two under- or overflows. */
function relativeToLargest(features: tf.Tensor, areNonNegative: boolean): WeightedFeatures {
  const largest = detached(() => {
    const found = tf.max(areNonNegative ? features : tf.abs(features), 2, true);
    return tf.where(tf.greater(found, 0), found, tf.onesLike(found));
  });
  return { features: tf.div(features, largest), logWeight: detached(() => tf.log(tf.squeeze(largest, [2]))) };
}

const geluScale = Math.sqrt(2 / Math.PI);

/** As `elementwiseFunctions` of @favor/core: gelu is the tanh approximation. */
const elementwise: Readonly<Record<Exclude<ElementwiseFunction, "exp">, (x: tf.Tensor) => tf.Tensor>> = {
  relu: (x) => tf.relu(x),
  abs: (x) => tf.abs(x),
  cos: (x) => cosine(x),
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
