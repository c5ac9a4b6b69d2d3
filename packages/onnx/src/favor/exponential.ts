import type { ExponentialForm } from "@favor/core";
import type { AttentionSite } from "../attention/site.ts";
import type { LinearFeatures } from "./linear.ts";
import type { NodeBuilder } from "./node-builder.ts";
import { standardScales } from "./scales.ts";
import type { SiteInputs } from "./site-inputs.ts";
import { stack, transposeLast } from "./trigonometric.ts";

/** Which affine maps are already in the projections' weights: then the operands are q' and k' themselves. */
export interface FoldedSides {
  readonly query: boolean;
  readonly key: boolean;
}

/**
 * Every exponential feature map: positive, dense-exponential, calibrated, landmark.
 *
 *     phi(q) = softmax over the features of P_q q' (a scale per query, which cancels)
 *     phi(k) = exp(P_k k' - c_k), c_k its largest exponent; weight of the key exp(c_k - |k'|^2/2 + w.(k - mean) - max)
 *
 * so that no exponent is ever positive: nothing overflows, and every key keeps at least one feature.
 *
 * @param forms one per head
 */
export function exponentialFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  forms: readonly ExponentialForm[],
  folded: FoldedSides,
): LinearFeatures {
  const { count, dim } = forms[0]!;
  const heads = forms.length;
  const scales = standardScales(site);

  // Queries: one product with P_q A_q, whatever A_q is.
  const queryMaps = forms.map((form) => queryMap(form, folded.query ? undefined : scales.query));
  const queryWeights = transposeLast(stack(queryMaps.map(({ matrix }) => matrix)), heads, count, dim);
  let query = build.op("MatMul", [inputs.query, build.floats("omega_query", [heads, dim, count], queryWeights)]);
  const queryBias = stack(queryMaps.map(({ bias }) => bias));
  if (queryBias.some((b) => b !== 0)) {
    query = build.op("Add", [query, build.floats("bias_query", [heads, 1, count], queryBias)]);
  }

  // Keys: |k'|^2 needs k' itself, unless A_k is a multiple of the identity.
  const keys = keyVectors(build, forms, inputs.keyColumns, folded.key ? 1 : scales.key, folded.key);
  const keyWeights = stack(forms.map((form) => form.keyProjection.map((w) => w * keys.scale)));
  const exponents = build.op("MatMul", [build.floats("omega_key", [heads, count, dim], keyWeights), keys.value]);
  const largest = build.reduceMax(exponents, 2);
  const keyColumns = build.op("Exp", [build.op("Sub", [exponents, largest])]);

  let logWeight = largest;
  if (forms[0]!.subtractNorms) {
    const squares = build.reduceSum(build.op("Mul", [keys.value, keys.value]), 2);
    logWeight = build.op("Sub", [logWeight, build.op("Mul", [squares, build.scalar(keys.scale ** 2 / 2)])]);
  }
  const linear = stack(forms.map((form) => keyWeightVector(form, keys)));
  if (linear.some((w) => w !== 0)) {
    logWeight = build.op("Add", [
      logWeight,
      build.op("MatMul", [build.floats("weight_key", [heads, 1, dim], linear), keys.value]),
    ]);
  }
  return {
    query: build.softmax(query),
    keyColumns,
    logWeight,
    value: inputs.value,
    keep: inputs.keep,
    positive: true,
    ...stateCore(build, forms),
  };
}

/** P_q A_q (scale q - mean) as a matrix [count, dim] and a bias [count]; P_q alone where A_q is folded. */
function queryMap(form: ExponentialForm, scale: number | undefined): { matrix: Float64Array; bias: Float64Array } {
  const { count, dim, queryProjection, queryMatrix, queryMean } = form;
  if (scale === undefined) return { matrix: queryProjection, bias: new Float64Array(count) };
  const matrix = new Float64Array(count * dim);
  const bias = new Float64Array(count);
  for (let m = 0; m < count; m++) {
    for (let j = 0; j < dim; j++) {
      let sum = 0;
      for (let i = 0; i < dim; i++) sum += queryProjection[m * dim + i]! * queryMatrix[i * dim + j]!;
      matrix[m * dim + j] = sum * scale;
      bias[m]! -= sum * queryMean[j]!;
    }
  }
  return { matrix, bias };
}

interface KeyVectors {
  /** [batch, heads or 1, dim, keys] */
  readonly value: string;
  /** k' is this times the value. */
  readonly scale: number;
  /** Whether the value is k', rather than k times the scale. */
  readonly primed: boolean;
}

function keyVectors(
  build: NodeBuilder,
  forms: readonly ExponentialForm[],
  columns: string,
  scale: number,
  folded: boolean,
): KeyVectors {
  if (folded) return { value: columns, scale: 1, primed: true };
  if (forms.every(isPlainKey)) return { value: columns, scale, primed: false };
  const { dim } = forms[0]!;
  const heads = forms.length;
  const matrix = stack(forms.map((form) => form.keyMatrix.map((a) => a * scale)));
  const shift = stack(
    forms.map(({ keyMatrix, keyMean }) =>
      Float64Array.from({ length: dim }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < dim; j++) sum -= keyMatrix[i * dim + j]! * keyMean[j]!;
        return sum;
      }),
    ),
  );
  const rotated = build.op("MatMul", [build.floats("balance_key", [heads, dim, dim], matrix), columns]);
  const value = build.op("Add", [rotated, build.floats("shift_key", [heads, dim, 1], shift)]);
  return { value, scale: 1, primed: true };
}

/** Whether k' = k: no mean, no matrix. */
function isPlainKey({ keyMatrix, keyMean, dim }: ExponentialForm): boolean {
  return keyMean.every((m) => m === 0) && keyMatrix.every((a, i) => a === (i % (dim + 1) === 0 ? 1 : 0));
}

/**
 * w.(k - mean) as a vector for the value at hand. For k' = A_k (k - mean) it is (A_k^-T w).k', and A_k^-T = A_q in every
 * balance, since q'.k' = q.k.
 */
function keyWeightVector(form: ExponentialForm, keys: KeyVectors): Float64Array {
  const { dim, keyWeight, queryMatrix } = form;
  if (!keys.primed) return keyWeight.map((w) => w * keys.scale);
  const vector = new Float64Array(dim);
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j < dim; j++) vector[i]! += queryMatrix[i * dim + j]! * keyWeight[j]!;
  }
  return vector;
}

/** diag(exp(logWeight)) C of each head, relative to its largest weight: the scale of a head cancels. */
function stateCore(build: NodeBuilder, forms: readonly ExponentialForm[]): Pick<LinearFeatures, "core"> {
  const { count } = forms[0]!;
  const heads = forms.length;
  const factors = forms.map(({ logWeight }) => {
    const largest = logWeight.reduce((a, b) => Math.max(a, b), -Infinity);
    return logWeight.map((log) => Math.exp(log - largest));
  });
  if (forms.every((form) => form.core !== undefined)) {
    const cores = forms.map((form, h) => {
      const scaled = form.core!.map((c, i) => c * factors[h]![Math.floor(i / count)]!);
      const largest = scaled.reduce((a, b) => Math.max(a, b), 0) || 1;
      return scaled.map((c) => c / largest);
    });
    return { core: { value: build.floats("core", [heads, count, count], stack(cores)), kind: "matrix" } };
  }
  if (factors.every((factor) => factor.every((f) => f === 1))) return {};
  return { core: { value: build.floats("weight_state", [heads, count, 1], stack(factors)), kind: "factor" } };
}
