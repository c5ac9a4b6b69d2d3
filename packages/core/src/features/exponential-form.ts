import { requireFinite, requireLength, requireObject, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { identity, multiply, multiplyTransposed } from "../linear-algebra/products.ts";
import type { HeadCoordinates } from "./coordinates.ts";
import type { FeatureMapDescription } from "./description.ts";
import type { FeatureMap, StabilizedFeatures } from "./feature-map.ts";
import { exponentialOfKeys, exponentialPerRow, scaleOfRow } from "./stabilizer.ts";

/**
 * The form that every exponential feature map shares, and all that an emitter needs:
 *
 *     q' = queryMatrix (q - queryMean)        log phi_q(q) = queryProjection q'
 *     k' = keyMatrix (k - keyMean)            log phi_k(k) = keyProjection k' - |k'|^2/2 + keyWeight.(k - keyMean)
 *
 *     exp(q.k) ~ const(q) phi_q(q)^T diag(exp(logWeight)) C phi_k(k),   const(q) = exp(q.keyMean - |q'|^2/2)
 *
 * const(q) cancels in the normaliser. `subtractNorms` says whether the two squared norms are there: random features
 * have them, landmarks do not. C is the identity unless `core` is given.
 */
export interface ExponentialForm extends HeadCoordinates {
  /** d */
  readonly dim: number;
  /** The width of phi. */
  readonly count: number;
  /** [dim] */
  readonly keyWeight: Float64Array;
  /** [count, dim] row-major */
  readonly queryProjection: Float64Array;
  /** [count, dim] row-major */
  readonly keyProjection: Float64Array;
  /** [count], per query feature */
  readonly logWeight: Float64Array;
  readonly subtractNorms: boolean;
  /** [count, count] row-major, rows = query features, columns = key features. */
  readonly core?: Float64Array;
}

/** C of a form, `[count, count]`: its core, or else the identity. */
export function coreMatrix(form: ExponentialForm): Float64Array {
  requireObject("form", form, "what exponentialForm gives");
  const { core, count } = form;
  return core ?? identity(count);
}

/** @throws ArgumentError if an array has the wrong length or a value that is not finite, or the core a negative one. */
export function checkExponentialForm(form: ExponentialForm): void {
  requireObject("form", form, "what exponentialForm gives");
  const { dim, count } = form;
  const lengths: [keyof ExponentialForm, Float64Array, number][] = [
    ["queryMean", form.queryMean, dim],
    ["queryMatrix", form.queryMatrix, dim * dim],
    ["keyMean", form.keyMean, dim],
    ["keyMatrix", form.keyMatrix, dim * dim],
    ["keyWeight", form.keyWeight, dim],
    ["queryProjection", form.queryProjection, count * dim],
    ["keyProjection", form.keyProjection, count * dim],
    ["logWeight", form.logWeight, count],
  ];
  if (form.core !== undefined) lengths.push(["core", form.core, count * count]);
  for (const [name, array, length] of lengths) {
    requireLength(`description.${name}`, array, length);
    requireFinite(`description.${name}`, array);
  }
  const negative = form.core?.findIndex((value) => value < 0) ?? -1;
  if (negative >= 0) {
    throw new ArgumentError(`description.core[${negative}]`, "no negative number", form.core?.[negative]);
  }
}

/**
 * log phi(x) = projection x' + linear.(x - mean) or linear.x + bias, minus |x'|^2/2 if the form says so; x' = matrix (x
 * - mean).
 */
interface Side {
  readonly mean: Float64Array;
  readonly matrix: Float64Array;
  readonly projection: Float64Array;
  readonly linear: Float64Array;
  /** Whether `linear` is applied to x - mean, or to x. */
  readonly centred: boolean;
  /** [count] */
  readonly bias: Float64Array;
}

/**
 * The feature map of an exponential form. const(q) is part of phi_q; C and diag(exp(logWeight)) are applied to the
 * keys.
 */
export function exponentialFeatureMap(description: FeatureMapDescription, form: ExponentialForm): FeatureMap {
  const { dim, count } = form;
  const core = form.core && weightedCore(form.core, form.logWeight);
  const query: Side = {
    mean: form.queryMean,
    matrix: form.queryMatrix,
    projection: form.queryProjection,
    linear: form.keyMean,
    centred: false,
    bias: new Float64Array(count),
  };
  const key: Side = {
    mean: form.keyMean,
    matrix: form.keyMatrix,
    projection: form.keyProjection,
    linear: form.keyWeight,
    centred: true,
    // With a core, the weight of a query feature comes after it.
    bias: core === undefined ? form.logWeight : new Float64Array(count),
  };
  const join = (features: Float64Array): Float64Array =>
    core === undefined ? features : multiplyTransposed(features, core, features.length / count, count, count);

  const logs = {
    query: (x: Float64Array) => logFeatures(x, query, form),
    key: (x: Float64Array) => logFeatures(x, key, form),
  };

  return {
    description,
    dim,
    count,
    logs: core ? undefined : logs,
    query: (x) => logs.query(x).map(Math.exp),
    key: (x) => join(logs.key(x).map(Math.exp)),
    queryStabilized: (x) => exponentialPerRow(logs.query(x), x.length / dim, count),
    keyStabilized(x, options = {}): StabilizedFeatures {
      const { features, logScale } = exponentialOfKeys(logs.key(x), x.length / dim, count, options);
      return { features: join(features), logScale };
    },
    queryBackward: (x, upstream, logScale) => backward(x, upstream, logScale, query, form),
    keyBackward(x, upstream, logScale) {
      requireLength("upstream", upstream, (x.length / dim) * count);
      const inner = core === undefined ? upstream : multiply(upstream, core, x.length / dim, count, count);
      return backward(x, inner, logScale, key, form);
    },
  };
}

function weightedCore(core: Float64Array, logWeight: Float64Array): Float64Array {
  const count = logWeight.length;
  return core.map((value, i) => value * Math.exp(logWeight[Math.floor(i / count)]!));
}

/** x', [rows, dim]. */
function transform(x: Float64Array, { mean, matrix }: Side, dim: number): Float64Array {
  const centred = x.map((value, i) => value - mean[i % dim]!);
  return multiplyTransposed(centred, matrix, x.length / dim, dim, dim);
}

/** [rows, count] */
function logFeatures(x: Float64Array, side: Side, { dim, count, subtractNorms }: ExponentialForm): Float64Array {
  const rows = rowCount("x", x, dim);
  const transformed = transform(x, side, dim);
  const out = multiplyTransposed(transformed, side.projection, rows, dim, count);
  for (let row = 0; row < rows; row++) {
    let common = 0;
    for (let l = 0; l < dim; l++) {
      const at = row * dim + l;
      common += (side.centred ? x[at]! - side.mean[l]! : x[at]!) * side.linear[l]!;
      if (subtractNorms) common -= 0.5 * transformed[at]! * transformed[at]!;
    }
    for (let m = 0; m < count; m++) out[row * count + m]! += common + side.bias[m]!;
  }
  return out;
}

/** With g = upstream * phi: dx = (g projection - (sum g) x') matrix + (sum g) linear. */
function backward(
  x: Float64Array,
  upstream: Float64Array,
  logScale: Float64Array | undefined,
  side: Side,
  form: ExponentialForm,
): Float64Array {
  const { dim, count, subtractNorms } = form;
  const weighted = logFeatures(x, side, form);
  const rows = x.length / dim;
  requireLength("upstream", upstream, rows * count);
  const sums = new Float64Array(rows);
  for (let i = 0; i < weighted.length; i++) {
    const row = Math.floor(i / count);
    weighted[i] = upstream[i]! * Math.exp(weighted[i]! - scaleOfRow(logScale, row, rows));
    sums[row]! += weighted[i]!;
  }
  const inner = multiply(weighted, side.projection, rows, count, dim);
  if (subtractNorms) {
    const transformed = transform(x, side, dim);
    for (let i = 0; i < inner.length; i++) inner[i]! -= sums[Math.floor(i / dim)]! * transformed[i]!;
  }
  const out = multiply(inner, side.matrix, rows, dim, dim);
  for (let i = 0; i < out.length; i++) out[i]! += sums[Math.floor(i / dim)]! * side.linear[i % dim]!;
  return out;
}
