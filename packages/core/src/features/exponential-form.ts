import { requireFinite, requireLength, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import type { FeatureMapDescription } from "./description.ts";
import type { FeatureMap, StabilizedFeatures } from "./feature-map.ts";
import { exponentialOfKeys, exponentialPerRow } from "./stabilizer.ts";

/**
 * The one form that every exponential feature map takes, and all that an emitter needs:
 *
 *     q' = queryMatrix (q - queryMean)        log phi_q(q) = queryProjection q'
 *     k' = keyMatrix (k - keyMean)            log phi_k(k) = keyProjection k' - |k'|^2/2 + keyWeight.(k - keyMean)
 *
 *     exp(q.k) ~ const(q) phi_q(q)^T diag(exp(logWeight)) C phi_k(k),   const(q) = exp(q.keyMean - |q'|^2/2)
 *
 * const(q) cancels in the normaliser. The two squared norms are there if `subtractNorms` (all random features) and
 * absent if not (landmarks). C is the identity unless `core` is given.
 */
export interface ExponentialForm {
  /** d */
  readonly dim: number;
  /** The width of phi. */
  readonly count: number;
  /** [dim] */
  readonly queryMean: Float64Array;
  /** [dim, dim] row-major */
  readonly queryMatrix: Float64Array;
  /** [dim] */
  readonly keyMean: Float64Array;
  /** [dim, dim] row-major */
  readonly keyMatrix: Float64Array;
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

/** Throws ArgumentError unless every array of a form has its length and finite values, and the core no negative one. */
export function checkExponentialForm(form: ExponentialForm): void {
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

/** The feature map of an exponential form. C and diag(exp(logWeight)) are applied on the key side. */
export function exponentialFeatureMap(description: FeatureMapDescription, form: ExponentialForm): FeatureMap {
  const { dim, count } = form;

  function logQuery(x: Float64Array): Float64Array {
    const rows = rowCount("x", x, dim);
    const logs = projected(x, rows, form.queryMean, form.queryMatrix, form.queryProjection, form);
    for (let row = 0; row < rows; row++) {
      let constant = form.subtractNorms ? -logs.halfNorms[row]! : 0;
      for (let i = 0; i < dim; i++) constant += x[row * dim + i]! * form.keyMean[i]!;
      for (let m = 0; m < count; m++) logs.values[row * count + m]! += constant;
    }
    return logs.values;
  }

  function logKey(x: Float64Array): Float64Array {
    const rows = rowCount("x", x, dim);
    const logs = projected(x, rows, form.keyMean, form.keyMatrix, form.keyProjection, form);
    for (let row = 0; row < rows; row++) {
      let weight = form.subtractNorms ? -logs.halfNorms[row]! : 0;
      for (let i = 0; i < dim; i++) weight += (x[row * dim + i]! - form.keyMean[i]!) * form.keyWeight[i]!;
      for (let m = 0; m < count; m++) {
        // With a core the weight belongs to the query feature, that is, after the core.
        logs.values[row * count + m]! += form.core === undefined ? weight + form.logWeight[m]! : weight;
      }
    }
    return logs.values;
  }

  const weightedCore = form.core && Float64Array.from(form.core);
  if (weightedCore) {
    for (let i = 0; i < count * count; i++) weightedCore[i]! *= Math.exp(form.logWeight[Math.floor(i / count)]!);
  }

  function joined(stabilized: StabilizedFeatures): StabilizedFeatures {
    if (weightedCore === undefined) return stabilized;
    const rows = stabilized.features.length / count;
    return { ...stabilized, features: multiplyTransposed(stabilized.features, weightedCore, rows, count, count) };
  }

  return {
    description,
    dim,
    count,
    query: (x) => logQuery(x).map((value) => Math.exp(value)),
    key: (x) => joined({ features: logKey(x).map((value) => Math.exp(value)), logScale: new Float64Array(1) }).features,
    queryStabilized: (x) => exponentialPerRow(logQuery(x), x.length / dim, count),
    keyStabilized: (x, options = {}) => joined(exponentialOfKeys(logKey(x), x.length / dim, count, options)),
  };
}

/** P A (x - mean) `[rows, count]` and |A (x - mean)|^2 / 2 `[rows]`. */
function projected(
  x: Float64Array,
  rows: number,
  mean: Float64Array,
  matrix: Float64Array,
  projection: Float64Array,
  { dim, count }: ExponentialForm,
): { values: Float64Array; halfNorms: Float64Array } {
  const centred = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) centred[i] = x[i]! - mean[i % dim]!;
  const transformed = multiplyTransposed(centred, matrix, rows, dim, dim);
  const halfNorms = new Float64Array(rows);
  for (let i = 0; i < x.length; i++) halfNorms[Math.floor(i / dim)]! += 0.5 * transformed[i]! * transformed[i]!;
  return { values: multiplyTransposed(transformed, projection, rows, dim, count), halfNorms };
}
