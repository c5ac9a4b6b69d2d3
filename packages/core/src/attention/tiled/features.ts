import { requireObject, requirePositive } from "../../checks.ts";
import { ArgumentError } from "../../errors.ts";
import { createFeatureMap } from "../../features/create.ts";
import { checkDescription } from "../../features/description.ts";
import type { ElementwiseFunction } from "../../features/elementwise.ts";
import type { RowFactorName } from "../../features/row-factor-name.ts";
import type {
  EluDescription,
  GeneralizedDescription,
  SquaredReluDescription,
  TrigonometricDescription,
} from "../../features/description.ts";
import { checkExponentialForm } from "../../features/exponential-form.ts";
import type { ExponentialForm } from "../../features/exponential-form.ts";
import { trigonometricForm } from "../../features/trigonometric.ts";
import { identity, multiply } from "../../linear-algebra/products.ts";
import { drawProjection } from "../../projections/projection.ts";
import { requireOptions } from "../../options.ts";

/**
 * A feature map prepared for speed. For exponential maps, with q~ = q - queryMean and k~ = k - keyMean:
 *
 *     log phi_q = queryProjection q~ + logWeight
 *     log phi_k = keyProjection k~ + keyWeight.k~ - |normMatrix k~|^2 / 2
 *
 * and attention weights are phi_q^T core phi_k. The square root of the scale of q.k is already multiplied in.
 */
export interface FeatureMap32 {
  readonly dim: number;
  readonly count: number;
  /** `[dim]`; undefined: 0. */
  readonly queryMean: Float64Array | undefined;
  readonly keyMean: Float64Array | undefined;
  /** `[count, dim]`. */
  readonly queryProjection: Float64Array;
  readonly keyProjection: Float64Array;
  /** `[count]`. */
  readonly logWeight: Float64Array;
  /** `[dim]`; undefined: 0. */
  readonly keyWeight: Float64Array | undefined;
  /** `[dim, dim]`; a number stands for that multiple of the identity, 0 for no norm. */
  readonly normMatrix: Float64Array | number;
  /** `[count, count]`, rows = query features; undefined: the identity. */
  readonly core: Float64Array | undefined;
  /**
   * What the estimate of exp(q.k) has besides phi_q^T core phi_k, as a factor of the query alone. It cancels in FAVOR, but
   * not next to exact keys. Exponential maps have it:
   *
   *     log = constant + weight.q~ - |normMatrix q~|^2 / 2
   */
  readonly queryFactor?: {
    readonly constant: number;
    /** `[dim]`. */
    readonly weight: Float64Array;
    /** `[dim, dim]`; undefined: no norm. */
    readonly normMatrix: Float64Array | undefined;
  };
  /** phi = f(projection x) + epsilon instead of the exponential, times h(k); from {@link elementwiseFeatures32}. */
  readonly elementwise?: {
    readonly function: ElementwiseFunction | "elu-plus-one";
    readonly epsilon: number;
    /** h; undefined: 1. g cancels. */
    readonly keyFactor?: RowFactorName | undefined;
  };
  /**
   * `[count]`, b: phi_q = cos(queryProjection q + b) and phi_k = exp(+|normMatrix k|^2 / 2) cos(keyProjection k + b)
   * instead of the exponential; from {@link trigonometricFeatures32}.
   */
  readonly phase?: Float64Array;
}

/**
 * Prepares an exponential feature map ({@link exponentialForm}) for {@link favorAttention32}: multiplies the matrices
 * of its two steps once, and folds in the scale of q.k.
 *
 * @param options.scale What q.k is multiplied by. Default 1, the convention of the README (Scale); d^(-1/2) for q
 * and k as a checkpoint's layers compute them.
 * @throws ArgumentError if the form's arrays have the wrong size.
 */
export function exponentialFeatures32(form: ExponentialForm, options: { readonly scale?: number } = {}): FeatureMap32 {
  requireOptions("options", options, { scale: true });
  const { scale = 1 } = options;
  requirePositive("options.scale", scale);
  checkExponentialForm(form);
  const { dim, count } = form;
  const root = Math.sqrt(scale);
  const queryMatrix = scaled(form.queryMatrix, root);
  const keyMatrix = scaled(form.keyMatrix, root);
  return {
    dim,
    count,
    queryMean: unlessZero(scaled(form.queryMean, 1 / root)),
    keyMean: unlessZero(scaled(form.keyMean, 1 / root)),
    queryProjection: multiply(form.queryProjection, queryMatrix, count, dim, dim),
    keyProjection: multiply(form.keyProjection, keyMatrix, count, dim, dim),
    logWeight: form.logWeight,
    keyWeight: unlessZero(scaled(form.keyWeight, root)),
    normMatrix: form.subtractNorms ? (multipleOfIdentity(keyMatrix, dim) ?? keyMatrix) : 0,
    core: form.core,
    queryFactor: {
      constant: form.queryMean.reduce((sum, mean, l) => sum + mean * form.keyMean[l]!, 0),
      weight: scaled(form.keyMean, root),
      normMatrix: form.subtractNorms ? queryMatrix : undefined,
    },
  };
}

/**
 * Prepares a feature map without an exponential form, f(w.x) + epsilon or f(x) + epsilon, for {@link favorAttention32}.
 * f is not stabilised: features beyond about 1e18 overflow float32 and give NaN. h of a generalized map is: keys are
 * weighted relative to the largest h so far. g cancels in the normaliser.
 *
 * @param options.scale As in {@link exponentialFeatures32}.
 * @throws ArgumentError for a description that is newer or inconsistent.
 */
export function elementwiseFeatures32(
  description: GeneralizedDescription | EluDescription | SquaredReluDescription,
  options: { readonly scale?: number } = {},
): FeatureMap32 {
  requireOptions("options", options, { scale: true });
  const { scale = 1 } = options;
  requirePositive("options.scale", scale);
  const { dim, count } = createFeatureMap(description);
  const elementwise: readonly string[] = ["generalized", "elu", "squared-relu"];
  if (!elementwise.includes(description.kind)) {
    throw new ArgumentError("description.kind", `one of ${elementwise.join(", ")}`, description.kind);
  }
  const generalized = description.kind === "generalized";
  const matrix = generalized ? drawProjection(description.projection) : identity(dim);
  const projection = scaled(matrix, Math.sqrt(scale));
  const named = description.kind === "elu" ? "elu-plus-one" : "squared-relu";
  return {
    dim,
    count,
    queryMean: undefined,
    keyMean: undefined,
    queryProjection: projection,
    keyProjection: projection,
    logWeight: new Float64Array(count),
    keyWeight: undefined,
    normMatrix: generalized && description.keyFactor !== undefined ? Math.sqrt(scale) : 0,
    core: undefined,
    elementwise: generalized
      ? {
          function: description.function,
          epsilon: description.epsilon ?? 1e-3,
          keyFactor: description.keyFactor,
        }
      : { function: named, epsilon: 0 },
  };
}

/**
 * Prepares trigonometric features (2006.03555), exp(|x|^2/2) cos(w.x + b), for {@link favorAttention32}. The sine of
 * "pair" is a cosine with b = -pi/2. Factors common to all features cancel in the normaliser and are left out. Keys are
 * weighted by exp(|k|^2/2), relative to the largest so far.
 *
 * The error of a feature is that of its angle in float32, about 1e-7 of the largest angle |w||x|. It is amplified where
 * the normaliser is near zero, that is, where attention is peaked. Measured with M = 256 and d = 16 and 64, attention is
 * off by 5e-7 at |q|^2 = |k|^2 = 1, by up to 7e-3 at 10, and by up to 3e-2 at 400; the estimate itself is useless there.
 * Attention throws ArgumentError where |w.x| exceeds 8186.
 *
 * @param options.scale As in {@link exponentialFeatures32}.
 * @throws ArgumentError for a description that is newer or inconsistent.
 */
export function trigonometricFeatures32(
  description: TrigonometricDescription,
  options: { readonly scale?: number } = {},
): FeatureMap32 {
  requireOptions("options", options, { scale: true });
  const { scale = 1 } = options;
  requirePositive("options.scale", scale);
  checkDescription(description);
  requireTrigonometric(description.kind);
  const { dim, count, projection: rows, phase } = trigonometricForm(description);
  const root = Math.sqrt(scale);
  const projection = Float64Array.from({ length: count * dim }, (_, i) => root * rows[i % rows.length]!);
  return {
    dim,
    count,
    queryMean: undefined,
    keyMean: undefined,
    queryProjection: projection,
    keyProjection: projection,
    logWeight: new Float64Array(count),
    keyWeight: undefined,
    normMatrix: root,
    core: undefined,
    phase: phase ?? Float64Array.from({ length: count }, (_, m) => (m < count / 2 ? 0 : -Math.PI / 2)),
  };
}

/** @throws ArgumentError for another kind: plain JavaScript may pass any description. */
function requireTrigonometric(kind: string): void {
  if (kind !== "trigonometric") throw new ArgumentError("description.kind", "trigonometric", kind);
}

function scaled(array: Float64Array, factor: number): Float64Array {
  return array.map((x) => x * factor);
}

function unlessZero(array: Float64Array): Float64Array | undefined {
  return array.some((x) => x !== 0) ? array : undefined;
}

function multipleOfIdentity(matrix: Float64Array, dim: number): number | undefined {
  const factor = matrix[0]!;
  const isMultiple = matrix.every((x, i) => x === (i % (dim + 1) === 0 ? factor : 0));
  return isMultiple ? factor : undefined;
}

/**
 * One map per key head; a single map serves all.
 *
 * @throws ArgumentError if they do not fit the attention.
 */
export function featuresByHead(
  features: FeatureMap32 | readonly FeatureMap32[],
  keyHeads: number,
  dim: number,
): readonly FeatureMap32[] {
  requireObject("features", features, "what exponentialFeatures32 gives");
  const list = "dim" in features ? Array.from({ length: keyHeads }, () => features) : features;
  if (list.length !== keyHeads) {
    throw new ArgumentError("features", `one map, or ${keyHeads} (one per key head)`, `${list.length}`);
  }
  for (const [head, each] of list.entries()) {
    if (each.dim !== dim) throw new ArgumentError(`features[${head}].dim`, `shape.dim (${dim})`, each.dim);
    if (each.count !== list[0]!.count) {
      throw new ArgumentError(`features[${head}].count`, `that of head 0 (${list[0]!.count})`, each.count);
    }
  }
  return list;
}
