import {
  createFeatureMap,
  drawProjection,
  type EluDescription,
  type FeatureMapDescription,
  type GeneralizedDescription,
  rowFactorExponents,
  type RowFactorName,
  type SquaredReluDescription,
} from "@favor/core";
import type { AttentionSite } from "../attention/site.ts";
import { elementwiseNodes } from "./elementwise.ts";
import type { LinearFeatures } from "./linear.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { standardScales } from "./scales.ts";
import type { SiteInputs } from "./site-inputs.ts";
import { stack, transposeLast } from "./trigonometric.ts";

/** A feature map that is a function of each projected number, the same for queries and keys. */
export type DirectDescription = GeneralizedDescription | EluDescription | SquaredReluDescription;

export function isDirect(description: FeatureMapDescription): description is DirectDescription {
  return description.kind === "generalized" || description.kind === "elu" || description.kind === "squared-relu";
}

/**
 * Kernels that do not estimate exp(q.k): generalized attention (2006.03555, section 2.2) f(w.x) + epsilon,
 * for keys times h(k), elu(x) + 1 (2006.16236), and max(x, 0)^2. Factors that all features of a query share, g(q) too, are
 * left out because they cancel.
 *
 * @param descriptions one per head, differing only in the projection
 */
export function directFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  descriptions: readonly DirectDescription[],
): LinearFeatures {
  // Throws for an invalid description.
  for (const description of descriptions) createFeatureMap(description);
  const scales = standardScales(site);
  const { value, keep } = inputs;
  // Features may be 0 or cancel, so the normaliser has no lower bound.
  const shared = { value, keep, logWeight: undefined, positive: false };
  const [first] = descriptions;
  if (first!.kind !== "generalized") {
    const apply = first!.kind === "elu" ? eluPlusOne : elementwiseNodes["squared-relu"];
    return {
      count: first!.dim,
      query: apply(build, scaled(build, inputs.query, scales.query)),
      keyColumns: apply(build, scaled(build, everyHead(build, inputs.keyColumns, site), scales.key)),
      ...shared,
    };
  }
  const { epsilon = 1e-3 } = first!;
  const { count, dim } = first!.projection;
  const heads = descriptions.length;
  const matrices = descriptions.map((d) => drawProjection((d as GeneralizedDescription).projection));
  const projection = (scale: number): Float64Array => stack(matrices.map((matrix) => matrix.map((w) => w * scale)));
  const queryWeights = transposeLast(projection(scales.query), heads, count, dim);
  const query = build.op("MatMul", [inputs.query, build.floats("omega_query", [heads, dim, count], queryWeights)]);
  const key = build.op("MatMul", [
    build.floats("omega_key", [heads, count, dim], projection(scales.key)),
    inputs.keyColumns,
  ]);
  const factor = first!.keyFactor && logFactor(build, inputs.keyColumns, scales.key, first!.keyFactor);
  if (first!.function === "exp") {
    const keys = boundedExponential(build, key, 2, epsilon);
    return {
      ...shared,
      count,
      query: boundedExponential(build, query, 3, epsilon).features,
      keyColumns: keys.features,
      logWeight: factor === undefined ? keys.logScale : build.op("Add", [keys.logScale, factor]),
    };
  }
  const apply = (x: string): string => {
    const features = elementwiseNodes[first!.function](build, x);
    return epsilon === 0 ? features : build.op("Add", [features, build.scalar(epsilon)]);
  };
  return { ...shared, count, query: apply(query), keyColumns: apply(key), logWeight: factor };
}

/** log h(k) = |k|^2 / 2 or its negative, of keys whose columns lie along axis 2. */
function logFactor(build: NodeBuilder, keyColumns: string, scale: number, name: RowFactorName): string {
  return build.op("Mul", [
    build.reduceSum(build.op("Mul", [keyColumns, keyColumns]), 2),
    build.scalar((rowFactorExponents[name] * scale ** 2) / 2),
  ]);
}

function scaled(build: NodeBuilder, value: string, scale: number): string {
  return scale === 1 ? value : build.op("Mul", [value, build.scalar(scale)]);
}

/** Repeats keys that all heads share for each head: without a projection per head, nothing else does. */
function everyHead(build: NodeBuilder, keyColumns: string, { heads, keyValueHeads }: AttentionSite): string {
  if (keyValueHeads === heads || keyValueHeads !== 1) return keyColumns;
  return build.op("Expand", [keyColumns, build.integers([1, heads, 1, 1])]);
}

/** elu(x) + 1 as max(x, 0) + exp(min(x, 0)): the sum of elu(x) and 1 would lose the digits of a small feature. */
function eluPlusOne(build: NodeBuilder, x: string): string {
  const below = build.op("Exp", [build.op("Min", [x, build.scalar(0)])]);
  return build.op("Add", [build.op("Relu", [x]), below]);
}

/** exp(x) + epsilon over the features' axis, as features of at most 1 + epsilon times exp(logScale). */
function boundedExponential(
  build: NodeBuilder,
  x: string,
  axis: number,
  epsilon: number,
): { features: string; logScale: string } {
  const logScale = build.op("Max", [build.reduceMax(x, axis), build.scalar(0)]);
  const exponentials = build.op("Exp", [build.op("Sub", [x, logScale])]);
  if (epsilon === 0) return { features: exponentials, logScale };
  const floor = build.op("Mul", [build.op("Exp", [build.op("Neg", [logScale])]), build.scalar(epsilon)]);
  return { features: build.op("Add", [exponentials, floor]), logScale };
}
