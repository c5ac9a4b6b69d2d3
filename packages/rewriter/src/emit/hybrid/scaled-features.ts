import type { ExponentialForm } from "@favor/core";
import type { NodeBuilder } from "@favor/onnx/graph";
import type { AttentionSite } from "../../attention/site.ts";
import { applyCore } from "../causal.ts";
import { logSumExp } from "../exponential.ts";
import { standardScales } from "../scales.ts";
import { affine, exponentMap, type ExponentMap } from "../side-maps.ts";
import type { SiteInputs } from "../site-inputs.ts";
import { areWide, stateCore } from "../state-core.ts";
import { stack, transposeLast } from "../trigonometric.ts";

/** Features that estimate exp(q.k) itself, not only up to a factor of each query. */
export interface ScaledFeatures {
  /** M */
  readonly count: number;
  /** phi(Q) C, [batch, heads, queries, M]. */
  readonly query: string;
  /** The log of what phi(Q) was divided by, [batch, heads, queries, 1]. */
  readonly queryLog: string;
  /** phi(K), [batch, heads, keys, M]: rows that sum to 1. */
  readonly key: string;
  /** [batch, heads, keys, 1] */
  readonly keyLog: string;
}

/**
 * Every exponential feature map with its scale:
 *
 *     exp(q.k) ~ exp(queryLog + keyLog) phi(q)^T C phi(k)
 *     phi(q) = softmax(e_q),   e_q = P_q q' + q.keyMean + const,   queryLog = log sum exp e_q - |q'|^2/2
 *     phi(k) = softmax(e_k),   e_k = P_k k' + w.k,                 keyLog = log sum exp e_k - |k'|^2/2
 *
 * x' = A (x - mean) is part of one product with the features' projection; it is computed itself for the norms alone, which
 * landmarks do not have. What depends on a query or key alone is added to all its exponents, and costs nothing.
 *
 * @param forms one per head
 */
export function scaledFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  forms: readonly ExponentialForm[],
): ScaledFeatures {
  const scales = standardScales(site);
  const isWide = areWide(forms);
  const { core, logScales } = stateCore(build, forms, isWide);
  const queryMaps = forms.map((form, head) => {
    const { matrix, bias } = exponentMap(form, "query", scales.query);
    const constant = logScales[head]! - dot(form.keyWeight, form.keyMean);
    return {
      matrix: addToRows(matrix, form.keyMean, scales.query),
      bias: bias.map((b, m) => b + constant + (isWide ? form.logWeight[m]! : 0)),
    };
  });
  const keyMaps = forms.map((form) => {
    const { matrix, bias } = exponentMap(form, "key", scales.key);
    return { matrix: addToRows(matrix, form.keyWeight, scales.key), bias };
  });
  const query = side(build, forms, "query", inputs.query, queryMaps, scales.query);
  const keyRows = build.transpose(inputs.keyColumns, [0, 1, 3, 2]);
  const key = side(build, forms, "key", keyRows, keyMaps, scales.key);
  return {
    count: forms[0]!.count,
    query: applyCore(build, { query: query.features, ...(core && { core }) }),
    queryLog: query.log,
    key: key.features,
    keyLog: key.log,
  };
}

function side(
  build: NodeBuilder,
  forms: readonly ExponentialForm[],
  name: "query" | "key",
  rows: string,
  maps: readonly ExponentMap[],
  scale: number,
): { features: string; log: string } {
  const { count, dim, subtractNorms } = forms[0]!;
  const heads = forms.length;
  const weights = transposeLast(stack(maps.map(({ matrix }) => matrix)), heads, count, dim);
  let exponents = build.op("MatMul", [rows, build.floats(`omega_${name}`, [heads, dim, count], weights)]);
  const bias = stack(maps.map((map) => map.bias));
  if (bias.some((b) => b !== 0)) {
    exponents = build.op("Add", [exponents, build.floats(`bias_${name}`, [heads, 1, count], bias)]);
  }
  const features = build.softmax(exponents);
  let log = logSumExp(build, exponents, features);
  if (subtractNorms) {
    const affineRows = affine(build, forms, build.transpose(rows, [0, 1, 3, 2]), scale, name);
    const vectors = build.transpose(affineRows.value, [0, 1, 3, 2]);
    const half = new Float64Array(heads * dim).fill(affineRows.scale ** 2 / 2);
    const norms = [build.op("Mul", [vectors, vectors]), build.floats(`norm_${name}`, [heads, dim, 1], half)];
    log = build.op("Sub", [log, build.op("MatMul", norms)]);
  }
  return { features, log };
}

/** A matrix with `scale` times a vector added to every row. */
function addToRows(matrix: Float64Array, vector: Float64Array, scale: number): Float64Array {
  return matrix.map((value, i) => value + scale * vector[i % vector.length]!);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
