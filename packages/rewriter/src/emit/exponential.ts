import { coreMatrix, type ExponentialForm } from "@favor/core";
import type { AttentionSite } from "../attention/site.ts";
import type { LinearFeatures } from "./linear.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
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
 *     phi(k) = exp(P_k k' - c_k); weight of the key exp(c_k - |k'|^2/2 + w.(k - mean) - max)
 *
 * with c_k the log of the sum of the exponentials, or the largest exponent where attention is causal. No exponent is ever
 * positive: nothing overflows, and every key keeps at least one feature.
 *
 * @param forms one per head
 * @param scaled whether the scale of each query is wanted, too; then nothing is folded
 */
export function exponentialFeatures(
  build: NodeBuilder,
  site: AttentionSite,
  inputs: SiteInputs,
  forms: readonly ExponentialForm[],
  folded: FoldedSides,
  scaled: boolean = false,
): LinearFeatures {
  const { count, dim } = forms[0]!;
  const heads = forms.length;
  const scales = standardScales(site);

  // Queries: one product with P_q A_q, for any A_q.
  const queryMaps = forms.map((form) => queryMap(form, folded.query ? undefined : scales.query));
  const queryWeights = transposeLast(stack(queryMaps.map(({ matrix }) => matrix)), heads, count, dim);
  let query = build.op("MatMul", [inputs.query, build.floats("omega_query", [heads, dim, count], queryWeights)]);
  const isWide = forms.some(({ logWeight }) => spread(logWeight) > widestFactor);
  const queryBias = stack(
    queryMaps.map(({ bias }, head) => (isWide ? bias.map((b, m) => b + forms[head]!.logWeight[m]!) : bias)),
  );
  if (queryBias.some((b) => b !== 0)) {
    query = build.op("Add", [query, build.floats("bias_query", [heads, 1, count], queryBias)]);
  }

  // Keys: |k'|^2 needs k' itself, unless A_k is a multiple of the identity.
  const keys = folded.key
    ? { value: inputs.keyColumns, scale: 1 }
    : affine(build, forms, inputs.keyColumns, scales.key, "key");
  const keyWeights = stack(forms.map((form) => times(form.keyProjection, keys.scale)));
  const key = (site.causal ? columnFeatures : rowFeatures)(build, keyWeights, [heads, count, dim], keys.value);

  let logWeight = key.logScale;
  if (forms[0]!.subtractNorms) {
    // A weight per dimension, all equal here, instead of a sum: distillation learns it. If A_k is folded into the
    // projection's weights, nothing else in a distilled map could change the norm.
    const half = build.floats("norm_key", [heads, 1, dim], new Float64Array(heads * dim).fill(keys.scale ** 2 / 2));
    logWeight = build.op("Sub", [logWeight, build.op("MatMul", [half, build.op("Mul", [keys.value, keys.value])])]);
  }
  // w.k instead of w.(k - mean): the difference is the same for all keys of a head.
  const linear = forms.map((form) => (folded.key ? foldedKeyWeight(form) : form.keyWeight.map((w) => w * scales.key)));
  if (linear.some((vector) => vector.some((w) => w !== 0))) {
    const product = build.op("MatMul", [build.floats("weight_key", [heads, 1, dim], stack(linear)), inputs.keyColumns]);
    logWeight = build.op("Add", [logWeight, product]);
  }
  const core = stateCore(build, forms, isWide);
  const queryFeatures = build.softmax(query);
  const queryLog = scaled
    ? queryScale(build, forms, inputs.query, scales.query, {
        exponents: query,
        features: queryFeatures,
        constants: forms.map((form, head) => core.logScales[head]! - dot(form.keyWeight, form.keyMean)),
      })
    : undefined;
  return {
    count,
    query: queryFeatures,
    keyColumns: key.columns,
    logWeight,
    value: inputs.value,
    keep: inputs.keep,
    positive: true,
    ...(core.core && { core: core.core }),
    ...(queryLog !== undefined && { queryLog }),
  };
}

/** What the scale of a query is made of. */
interface QueryScale {
  /** log phi(q), [batch, heads, queries, M], and its softmax. */
  readonly exponents: string;
  readonly features: string;
  /** One number per head. */
  readonly constants: readonly number[];
}

/**
 * log of what a softmax of the exponents leaves out, q.keyMean - |q'|^2/2 and a constant: const(q) of the form, and more.
 * Returns [batch, heads, queries, 1].
 */
function queryScale(
  build: NodeBuilder,
  forms: readonly ExponentialForm[],
  query: string,
  scale: number,
  { exponents, features, constants }: QueryScale,
): string {
  const { dim, subtractNorms } = forms[0]!;
  const heads = forms.length;
  let log = logSumExp(build, exponents, features);
  const linear = stack(forms.map(({ keyMean }) => times(keyMean, scale)));
  if (linear.some((weight) => weight !== 0)) {
    log = build.op("Add", [log, build.op("MatMul", [query, build.floats("mean_key", [heads, dim, 1], linear)])]);
  }
  if (subtractNorms) {
    const columns = build.transpose(query, [0, 1, 3, 2]);
    const { value, scale: own } = affine(build, forms, columns, scale, "query");
    const half = build.floats("norm_query", [heads, dim, 1], new Float64Array(heads * dim).fill(own ** 2 / 2));
    const rows = build.transpose(value, [0, 1, 3, 2]);
    log = build.op("Sub", [log, build.op("MatMul", [build.op("Mul", [rows, rows]), half])]);
  }
  return build.op("Add", [log, build.floats("log_scale", [heads, 1, 1], constants)]);
}

/** The log of the sum of exponentials over the last axis: max e - log max softmax(e), and that is at least 1 / M. */
function logSumExp(build: NodeBuilder, exponents: string, softmax: string): string {
  return build.op("Sub", [build.reduceMax(exponents, 3), build.op("Log", [build.reduceMax(softmax, 3)])]);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** P_q A_q (scale q - mean) as a matrix [count, dim] and a bias [count]; P_q alone where A_q is folded. */
function queryMap(form: ExponentialForm, scale: number | undefined): { matrix: Float64Array; bias: Float64Array } {
  const { count, dim, queryProjection, queryMatrix, queryMean } = form;
  if (scale === undefined) return { matrix: queryProjection, bias: new Float64Array(count) };
  if (isPlain(queryMean, queryMatrix)) {
    return { matrix: times(queryProjection, scale), bias: new Float64Array(count) };
  }
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

interface AffineVectors {
  /** [batch, heads or 1, dim, length] */
  readonly value: string;
  /** x' is this times the value. */
  readonly scale: number;
}

/** x' = A (scale x - mean) of queries or keys, given as columns. */
function affine(
  build: NodeBuilder,
  forms: readonly ExponentialForm[],
  columns: string,
  scale: number,
  side: "query" | "key",
): AffineVectors {
  const sides = forms.map((form) => ({ mean: form[`${side}Mean`], matrix: form[`${side}Matrix`] }));
  if (sides.every(({ mean, matrix }) => isPlain(mean, matrix))) return { value: columns, scale };
  const { dim } = forms[0]!;
  const heads = forms.length;
  const scaled = stack(sides.map(({ matrix }) => matrix.map((a) => a * scale)));
  const shift = stack(
    sides.map(({ matrix, mean }) =>
      Float64Array.from({ length: dim }, (_, i) => {
        let sum = 0;
        for (let j = 0; j < dim; j++) sum -= matrix[i * dim + j]! * mean[j]!;
        return sum;
      }),
    ),
  );
  const rotated = build.op("MatMul", [build.floats(`balance_${side}`, [heads, dim, dim], scaled), columns]);
  const value = build.op("Add", [rotated, build.floats(`shift_${side}`, [heads, dim, 1], shift)]);
  return { value, scale: 1 };
}

/** Every value times a factor. A loop, because `map` is several times slower on the millions of numbers of a large model. */
function times(values: Float64Array, factor: number): Float64Array {
  const products = new Float64Array(values.length);
  for (let i = 0; i < values.length; i++) products[i] = values[i]! * factor;
  return products;
}

/** Whether a side is neither centred nor multiplied by a matrix: x' = x. */
export function isPlain(mean: Float64Array, matrix: Float64Array): boolean {
  if (mean.some((m) => m !== 0)) return false;
  // The diagonal of the matrix is every (dim + 1)-th entry.
  const step = mean.length + 1;
  for (let i = 0, diagonal = 0; i < matrix.length; i++) {
    if (matrix[i] !== (i === diagonal ? 1 : 0)) return false;
    if (i === diagonal) diagonal += step;
  }
  return true;
}

/**
 * Whether w.(k - mean) follows from k' = A_k (k - mean) alone. It is (A_k^-T w).k', and A_k^-T = A_q if the maps are
 * balanced, so that q'.k' = q.k. Learned forms need not be balanced.
 */
export function isBalanced({ dim, queryMatrix, keyMatrix }: ExponentialForm): boolean {
  for (let row = 0; row < dim; row++) {
    for (let column = 0; column < dim; column++) {
      let product = 0;
      for (let i = 0; i < dim; i++) product += queryMatrix[row * dim + i]! * keyMatrix[column * dim + i]!;
      if (!(Math.abs(product - (row === column ? 1 : 0)) < 1e-6)) return false;
    }
  }
  return true;
}

/** w of w.(k - mean) for the folded operand k', where {@link isBalanced}. */
function foldedKeyWeight({ dim, keyWeight, queryMatrix }: ExponentialForm): Float64Array {
  const vector = new Float64Array(dim);
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j < dim; j++) vector[i]! += queryMatrix[i * dim + j]! * keyWeight[j]!;
  }
  return vector;
}

/** Features of keys with the log of what they were divided by, [batch, heads, 1, keys]. */
interface KeyFeatures {
  /** [batch, heads, M, keys] */
  readonly columns: string;
  readonly logScale: string;
}

type Sizes = readonly [heads: number, count: number, dim: number];

/** exp(P_k k' - c_k), c_k the largest exponent: laid out as a prefix sum cuts them. */
function columnFeatures(build: NodeBuilder, weights: Float64Array, sizes: Sizes, columns: string): KeyFeatures {
  const exponents = build.op("MatMul", [build.floats("omega_key", sizes, weights), columns]);
  const logScale = build.reduceMax(exponents, 2);
  return { columns: build.op("Exp", [build.op("Sub", [exponents, logScale])]), logScale };
}

/**
 * The same by a softmax of rows, which runtimes compute in one pass where exp(e - max e) takes three; the transposition
 * becomes part of the product that reads it.
 * Measured against {@link columnFeatures}: 8 to 24 % off the time of the whole attention (8 heads of 64, 512 to 8192
 * keys, onnxruntime on one thread).
 */
function rowFeatures(build: NodeBuilder, weights: Float64Array, sizes: Sizes, columns: string): KeyFeatures {
  const [heads, count, dim] = sizes;
  const omega = build.floats("omega_key", [heads, dim, count], transposeLast(weights, heads, count, dim));
  const exponents = build.op("MatMul", [build.transpose(columns, [0, 1, 3, 2]), omega]);
  const features = build.softmax(exponents);
  const logScale = logSumExp(build, exponents, features);
  return {
    columns: build.transpose(features, [0, 1, 3, 2]),
    logScale: build.transpose(logScale, [0, 1, 3, 2]),
  };
}

/** Log weights of features further apart than this would leave float32 as factors; then they go into the exponents. */
const widestFactor = 60;

function spread(values: Float64Array): number {
  let [least, largest] = [Infinity, -Infinity];
  for (const value of values) {
    least = Math.min(least, value);
    largest = Math.max(largest, value);
  }
  return largest - least;
}

/** Numbers below this are slow in many processors, and negligible next to the largest entry, which is 1. */
const leastNormal = 1.2e-38;

/** C with the weights of features, and the log of what each head's was divided by. */
interface StateCore extends Pick<LinearFeatures, "core"> {
  readonly logScales: readonly number[];
}

/**
 * diag(exp(logWeight)) C per head, relative to its largest weight, because the scale of a head cancels. If one head has a
 * core, heads without one get the identity.
 *
 * @param weighted whether the queries' exponents hold logWeight already
 */
function stateCore(build: NodeBuilder, forms: readonly ExponentialForm[], weighted: boolean): StateCore {
  const { count } = forms[0]!;
  const heads = forms.length;
  const largestLogs = forms.map(({ logWeight }) =>
    weighted ? 0 : logWeight.reduce((a, b) => Math.max(a, b), -Infinity),
  );
  const factors = forms.map(({ logWeight }, h) =>
    logWeight.map((log) => (weighted ? 1 : Math.exp(log - largestLogs[h]!))),
  );
  if (forms.some((form) => form.core !== undefined)) {
    const cores = forms.map((form, h) => coreMatrix(form).map((c, i) => c * factors[h]![Math.floor(i / count)]!));
    const largest = cores.map((core) => core.reduce((a, b) => Math.max(a, b), 0) || 1);
    const relative = cores.map((core, h) => core.map((c) => (c / largest[h]! < leastNormal ? 0 : c / largest[h]!)));
    return {
      core: { value: build.floats("core", [heads, count, count], stack(relative)), kind: "matrix" },
      logScales: largestLogs.map((log, h) => log + Math.log(largest[h]!)),
    };
  }
  if (factors.every((factor) => factor.every((f) => f === 1))) return { logScales: largestLogs };
  const core = { value: build.floats("weight_state", [heads, count, 1], stack(factors)), kind: "factor" } as const;
  return { core, logScales: largestLogs };
}
