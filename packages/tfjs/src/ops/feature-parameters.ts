import {
  ArgumentError,
  checkDescription,
  coreMatrix,
  drawProjection,
  exponentialForm,
  trigonometricForm,
} from "@favor/core";
import type { ExponentialForm, FeatureMapDescription, TrigonometricForm } from "@favor/core";
import * as tf from "@tensorflow/tfjs-core";
import { numbersOnHost, requireTensor } from "../attention-inputs.ts";

/** One description for all heads, or one per head. */
export type FeatureMaps = FeatureMapDescription | readonly FeatureMapDescription[];

/** The arrays of a feature map as tensors, stacked over `maps` descriptions: 1 for all heads, or one per head. */
export interface FeatureParameters {
  readonly kind: FeatureMapDescription["kind"];
  readonly description: FeatureMapDescription;
  /** 1, or the number of heads. */
  readonly maps: number;
  /** d */
  readonly dim: number;
  /** Everything that phi depends on, by name; all of it receives gradients. */
  readonly tensors: Readonly<Record<string, tf.Tensor>>;
}

/**
 * The descriptions in `featureMap`, all of one kind and size.
 *
 * @throws ArgumentError if they are not.
 */
export function listDescriptions(featureMap: FeatureMaps, heads: number): readonly FeatureMapDescription[] {
  const all: readonly FeatureMapDescription[] = Array.isArray(featureMap) ? featureMap : [featureMap];
  for (const each of all) {
    const given: unknown = each;
    if (typeof given === "object" && given !== null) checkDescription(each);
    else throw new ArgumentError("featureMap", 'one such as { version: 1, kind: "positive", projection }', given);
  }
  const [first] = all;
  if (first === undefined || (all.length !== 1 && all.length !== heads)) {
    throw new ArgumentError(
      "featureMap",
      `one description, or one for each of ${heads} heads`,
      `${all.length} of them`,
    );
  }
  for (const [head, other] of all.entries()) {
    if (other.kind !== first.kind || describedSize(other) !== describedSize(first)) {
      const expected = `the kind and size of featureMap[0], ${first.kind} ${describedSize(first)}`;
      throw new ArgumentError(`featureMap[${head}]`, expected, `${other.kind} ${describedSize(other)}`);
    }
  }
  return all;
}

/** "variant count x dim": what descriptions of several heads must share. */
function describedSize(description: FeatureMapDescription): string {
  const { count, dim } = { count: "", ...("projection" in description ? description.projection : description) };
  const variant = "variant" in description ? description.variant : "";
  if (description.kind !== "generalized") return `${variant} ${count} x ${dim}`;
  const { function: name, epsilon = 1e-3, keyFactor = "no factor" } = description;
  return `${name} + ${epsilon}, ${keyFactor}, ${count} x ${dim}`;
}

/** d of a description. */
export function describedDim(description: FeatureMapDescription): number {
  return "projection" in description ? description.projection.dim : description.dim;
}

/** The drawn projections `[maps, count, dim]`, which a layer keeps as a non-trainable weight. */
export function drawProjections(descriptions: readonly FeatureMapDescription[]): tf.Tensor3D {
  const drawn = descriptions.map((description) => {
    if (!("projection" in description)) {
      throw new ArgumentError("featureMap", "a map with a random projection", description.kind);
    }
    const { count, dim } = description.projection;
    return tf.tensor2d(Float32Array.from(drawProjection(description.projection)), [count, dim]);
  });
  return tf.stack(drawn) as tf.Tensor3D;
}

/**
 * The tensors of `descriptions`. `projection`, `[count, dim]` or `[maps, count, dim]`, replaces the drawn ones; pass a
 * variable to train it.
 *
 * @throws ArgumentError for a shape that does not fit, a map without a projection, and, on cpu, wasm and tfjs-node,
 * numbers that are not finite.
 */
export function featureParameters(
  descriptions: readonly FeatureMapDescription[],
  projection: tf.Tensor | undefined,
): FeatureParameters {
  const description = descriptions[0]!;
  const given = projection && checkedProjection(descriptions, projection);
  const maps = given ? Math.max(given.shape[0]!, descriptions.length) : descriptions.length;
  const common = { kind: description.kind, description, maps, dim: describedDim(description) };
  switch (description.kind) {
    case "elu":
    case "squared-relu":
      return { ...common, tensors: {} };
    case "generalized":
      return { ...common, tensors: { projection: transposed(given ?? drawProjections(descriptions)) } };
    case "trigonometric": {
      const forms = descriptions.map((each) => cached(trigonometricForms, each, () => trigonometric(each)));
      const drawn = given ?? stacked(forms, (form) => form.projection, [-1, common.dim]);
      const phase =
        forms[0]!.phase &&
        repeated(
          stacked(forms, (form) => form.phase!, [1, -1]),
          maps,
        );
      return { ...common, tensors: { projection: transposed(drawn), ...(phase && { phase }) } };
    }
    default: {
      const forms = descriptions.map((each) => cached(exponentialForms, each, () => exponentialForm(each)));
      return { ...common, tensors: exponentialTensors(descriptions, forms, given, maps) };
    }
  }
}

function trigonometric(description: FeatureMapDescription): TrigonometricForm {
  if (description.kind !== "trigonometric") throw new ArgumentError("kind", "trigonometric", description.kind);
  return trigonometricForm(description);
}

/** Drawing costs a QR decomposition, so it is done once per description object rather than per call. */
const exponentialForms = new WeakMap<FeatureMapDescription, ExponentialForm>();
const trigonometricForms = new WeakMap<FeatureMapDescription, TrigonometricForm>();

function cached<T>(cache: WeakMap<FeatureMapDescription, T>, key: FeatureMapDescription, make: () => T): T {
  const found = cache.get(key) ?? make();
  cache.set(key, found);
  return found;
}

function checkedProjection(descriptions: readonly FeatureMapDescription[], projection: tf.Tensor): tf.Tensor {
  const description = descriptions[0]!;
  if (!("projection" in description)) {
    throw new ArgumentError("projection", `none: ${description.kind} features have no random projection`, "a tensor");
  }
  const { count, dim } = description.projection;
  requireTensor("projection", projection, `[${count}, ${dim}] or [heads, ${count}, ${dim}]`);
  const maps = projection.rank === 3 ? projection.shape[0]! : 1;
  const [rows, columns] = projection.shape.slice(-2);
  const fits = projection.rank === 2 || projection.rank === 3;
  if (!fits || rows !== count || columns !== dim || (descriptions.length > 1 && maps !== descriptions.length)) {
    throw new ArgumentError("projection", `[${count}, ${dim}] or [heads, ${count}, ${dim}]`, `[${projection.shape}]`);
  }
  requireFinite(projection);
  return tf.reshape(projection, [maps, count, dim]);
}

function requireFinite(projection: tf.Tensor): void {
  const values = numbersOnHost(projection) ?? [];
  const at = Array.prototype.findIndex.call(values, (value: number) => !Number.isFinite(value));
  if (at < 0) return;
  const row = Math.floor(at / projection.shape.at(-1)!);
  throw new ArgumentError("projection", "finite numbers", `${values[at]} in row ${row}`);
}

/** One array of every form, stacked: `[maps, ...shape]`. */
function stacked<Form>(forms: readonly Form[], array: (form: Form) => Float64Array, shape: number[]): tf.Tensor {
  return tf.stack(forms.map((form) => tf.reshape(tf.tensor1d(Float32Array.from(array(form))), shape)));
}

/** Repeats a stack of one, because the gradient of matMul does not broadcast batches. */
function repeated(stack: tf.Tensor, maps: number): tf.Tensor {
  return stack.shape[0] === maps ? stack : tf.mul(stack, tf.ones([maps, ...stack.shape.slice(1).map(() => 1)]));
}

/** On most backends, matMul is fast for operands that are not transposed. */
function transposed(matrices: tf.Tensor): tf.Tensor {
  return tf.transpose(matrices, [0, 2, 1]);
}

function exponentialTensors(
  descriptions: readonly FeatureMapDescription[],
  forms: readonly ExponentialForm[],
  projection: tf.Tensor | undefined,
  maps: number,
): Record<string, tf.Tensor> {
  const { dim } = forms[0]!;
  const stack = (array: (form: ExponentialForm) => Float64Array, shape: number[]): tf.Tensor =>
    repeated(stacked(forms, array, shape), maps);
  const tensors: Record<string, tf.Tensor> = {};
  const moved = forms.some((form) => [...form.queryMean, ...form.keyMean].some((x) => x !== 0));
  if (moved) {
    tensors["queryMean"] = stack((form) => form.queryMean, [1, dim]);
    tensors["keyMean"] = stack((form) => form.keyMean, [1, dim]);
  }
  if (forms.some((form) => !isIdentity(form.queryMatrix, dim) || !isIdentity(form.keyMatrix, dim))) {
    tensors["queryMatrix"] = transposed(stack((form) => form.queryMatrix, [dim, dim]));
    tensors["keyMatrix"] = transposed(stack((form) => form.keyMatrix, [dim, dim]));
  }
  if (forms.some((form) => form.keyWeight.some((x) => x !== 0))) {
    tensors["keyWeight"] = stack((form) => form.keyWeight, [dim, 1]);
  }
  if (forms.some((form) => form.core)) {
    const { count } = forms[0]!;
    tensors["core"] = stack(coreMatrix, [count, count]);
  }
  if (projection) {
    Object.assign(tensors, projectedTensors(descriptions, repeated(projection, maps)));
  } else {
    tensors["queryProjection"] = transposed(stack((form) => form.queryProjection, [-1, dim]));
    tensors["keyProjection"] = transposed(stack((form) => form.keyProjection, [-1, dim]));
    tensors["logWeight"] = stack((form) => form.logWeight, [1, -1]);
  }
  return tensors;
}

/**
 * The parts of the form that depend on the projection W, b_l w_ml and 2 sum_l a_l w_ml^2 (2302.00787, section 3.2), as
 * functions that tfjs differentiates.
 */
function projectedTensors(descriptions: readonly FeatureMapDescription[], w: tf.Tensor): Record<string, tf.Tensor> {
  const [maps, count, dim] = w.shape as [number, number, number];
  if (descriptions[0]!.kind === "hyperbolic") {
    const both = transposed(tf.concat([w, tf.neg(w)], 1));
    const logWeight = tf.mul(tf.ones([maps, 1, 2 * count]), -Math.log(2 * count));
    return { queryProjection: both, keyProjection: both, logWeight };
  }
  const exponents = descriptions.map((description) => {
    const a = "a" in description ? description.a : 0;
    return tf.tensor2d(typeof a === "number" ? Array.from({ length: dim }, () => a) : [...a], [1, dim]);
  });
  const a = repeated(tf.stack(exponents), maps);
  const scaled = transposed(tf.mul(w, tf.sqrt(tf.sub(1, tf.mul(4, a)))));
  const squares = tf.sum(tf.mul(tf.mul(2, a), tf.square(w)), 2);
  const constant = tf.sub(tf.mul(0.5, tf.sum(tf.log(tf.sub(1, tf.mul(4, a))), 2)), Math.log(count));
  const logWeight = tf.expandDims(tf.add(squares, constant), 1);
  return { queryProjection: scaled, keyProjection: scaled, logWeight };
}

function isIdentity(matrix: Float64Array, dim: number): boolean {
  return matrix.every((value, i) => value === (i % (dim + 1) === 0 ? 1 : 0));
}
