import { checkProjectionDescription } from "../projections/description.ts";
import type { ProjectionDescription } from "../projections/description.ts";
import { requireArray, requireObject } from "../checks.ts";
import { requireOptions } from "../options.ts";
import { ArgumentError } from "../errors.ts";
import { coordinateFields } from "./coordinates.ts";
import type { HeadCoordinates } from "./coordinates.ts";
import { elementwiseFunctions } from "./elementwise.ts";
import type { ElementwiseFunction } from "./elementwise.ts";
import { rowFactorExponents } from "./row-factor-name.ts";
import type { RowFactorName } from "./row-factor-name.ts";

/** The version of the descriptions that this package writes. It reads this version and older ones. */
export const descriptionVersion = 1;

interface Versioned {
  readonly version: 1;
}

/** Random Fourier features of 2006.03555, faithful to the paper: may be negative, unstable for peaked attention. */
export interface TrigonometricDescription extends Versioned {
  readonly kind: "trigonometric";
  /** "phase": sqrt(2) cos(w.x + b), width M. "pair": cos(w.x) and sin(w.x), width 2 M, lower variance. */
  readonly variant: "phase" | "pair";
  readonly projection: ProjectionDescription;
}

/** FAVOR+ of 2009.14794 (Lemma 1): exp(w.x - |x|^2/2). */
export interface PositiveDescription extends Versioned {
  readonly kind: "positive";
  readonly projection: ProjectionDescription;
}

/** FAVOR+ in its hyperbolic form (2009.14794, Lemma 1): exp(w.x) and exp(-w.x); width 2 M. */
export interface HyperbolicDescription extends Versioned {
  readonly kind: "hyperbolic";
  readonly projection: ProjectionDescription;
}

/** FAVOR++ of 2205.15317: exp(a |w|^2 + b w.x - |x|^2/2), b = sqrt(1 - 4a). */
export interface OprfDescription extends Versioned {
  readonly kind: "oprf";
  readonly projection: ProjectionDescription;
  /** Must be below 1/8 for a finite variance; a negative value bounds the features. See {@link optimalOprf}. */
  readonly a: number;
}

/** FAVOR# of 2302.00787 with diagonal A: OPRF with one `a` per dimension. */
export interface DenseExponentialDescription extends Versioned {
  readonly kind: "dense-exponential";
  readonly projection: ProjectionDescription;
  /** [dim], each below 1/8. */
  readonly a: readonly number[];
}

/** Dense-exponential features after calibration has centred, balanced and rotated q and k. */
export interface CalibratedDescription extends Versioned, HeadCoordinates<readonly number[]> {
  readonly kind: "calibrated";
  readonly projection: ProjectionDescription;
  /** [dim], each below 1/8. */
  readonly a: readonly number[];
}

/**
 * Features at landmarks of the calibration data, joined by a fitted non-negative core.
 *
 *     phi_q = exp(z_m.q'),   phi_k = exp(y_m.k' + queryMean.(k - keyMean)),   exp(q.k) ~ exp(q.keyMean) phi_q^T C phi_k
 */
export interface LandmarkDescription extends Versioned, HeadCoordinates<readonly number[]> {
  readonly kind: "landmark";
  readonly dim: number;
  readonly count: number;
  /** z, `[count, dim]`: multiplied with a transformed query; centres of the transformed keys. */
  readonly keyLandmarks: readonly number[];
  /** y, `[count, dim]`: multiplied with a transformed key; centres of the transformed queries. */
  readonly queryLandmarks: readonly number[];
  /** `[count]`, added to the log of each query feature, which brings it to unit mean square on the calibration data. */
  readonly logWeight: readonly number[];
  /** C, [count, count] row-major, rows for query features; no entry negative. */
  readonly core: readonly number[];
}

/** An exponential form with free parameters, as distillation learns them: any {@link ExponentialForm} as plain JSON. */
export interface LinearExponentialDescription extends Versioned, HeadCoordinates<readonly number[]> {
  readonly kind: "linear-exponential";
  readonly dim: number;
  readonly count: number;
  readonly keyWeight: readonly number[];
  readonly queryProjection: readonly number[];
  readonly keyProjection: readonly number[];
  readonly logWeight: readonly number[];
  readonly subtractNorms: boolean;
  /** C, [count, count] row-major, rows for query features; no entry negative. Default: the identity. */
  readonly core?: readonly number[];
}

/**
 * Generalized attention of 2006.03555 (section 2.2; appendix on ReLU), with the features g(q) (f(w.q) + epsilon) and
 * h(k) (f(w.k) + epsilon). Not an estimate of exp.
 */
export interface GeneralizedDescription extends Versioned {
  readonly kind: "generalized";
  readonly projection: ProjectionDescription;
  readonly function: ElementwiseFunction;
  /** Default 1e-3, the paper's. */
  readonly epsilon?: number;
  /** g. Default 1. A positive g cancels in the normaliser. */
  readonly queryFactor?: RowFactorName;
  /** h. Default 1. */
  readonly keyFactor?: RowFactorName;
}

/** elu(x) + 1 of "Transformers are RNNs" (2006.16236), width d. Not an estimate of exp. */
export interface EluDescription extends Versioned {
  readonly kind: "elu";
  readonly dim: number;
}

/** max(x, 0)^2, width d. Not an estimate of exp. */
export interface SquaredReluDescription extends Versioned {
  readonly kind: "squared-relu";
  readonly dim: number;
}

/** Plain, versioned JSON that fully describes a feature map. */
export type FeatureMapDescription =
  | TrigonometricDescription
  | PositiveDescription
  | HyperbolicDescription
  | OprfDescription
  | DenseExponentialDescription
  | CalibratedDescription
  | LandmarkDescription
  | LinearExponentialDescription
  | GeneralizedDescription
  | EluDescription
  | SquaredReluDescription;

export type FeatureMapKind = FeatureMapDescription["kind"];

/** "array": numbers that were fitted or learned, and have to be there. "other": checked where it is read. */
type Field = "array" | "other";
type Fields<Kind extends FeatureMapKind> = Readonly<
  Record<Exclude<keyof Extract<FeatureMapDescription, { kind: Kind }>, "version" | "kind">, Field>
>;

/** The fields of every kind, besides its version and name. */
const fields: { readonly [Kind in FeatureMapKind]: Fields<Kind> } = {
  trigonometric: { variant: "other", projection: "other" },
  positive: { projection: "other" },
  hyperbolic: { projection: "other" },
  oprf: { projection: "other", a: "other" },
  "dense-exponential": { projection: "other", a: "array" },
  calibrated: { projection: "other", a: "array", ...coordinateFields },
  landmark: {
    dim: "other",
    count: "other",
    ...coordinateFields,
    queryLandmarks: "array",
    keyLandmarks: "array",
    logWeight: "array",
    core: "array",
  },
  "linear-exponential": {
    dim: "other",
    count: "other",
    ...coordinateFields,
    keyWeight: "array",
    queryProjection: "array",
    keyProjection: "array",
    logWeight: "array",
    subtractNorms: "other",
    core: "other",
  },
  generalized: { projection: "other", function: "other", epsilon: "other", queryFactor: "other", keyFactor: "other" },
  elu: { dim: "other" },
  "squared-relu": { dim: "other" },
};

/**
 * Checks a description. The lengths of its arrays are checked when the feature map is created.
 *
 * @throws ArgumentError for an unknown version, kind, variant or function, an invalid projection or epsilon, or a
 * missing array.
 */
export function checkDescription(description: FeatureMapDescription): void {
  requireObject("description", description, '{ version: 1, kind: "positive", projection }');
  const { version }: { version: unknown } = description;
  if (version !== descriptionVersion) {
    const newer = typeof version === "number" && version > descriptionVersion;
    const advice = newer ? " (it was written by a newer @favor/core; update this package)" : "";
    throw new ArgumentError("description.version", `version ${descriptionVersion}${advice}`, version);
  }
  const { kind } = description;
  if (!Object.hasOwn(fields, kind)) {
    throw new ArgumentError("description.kind", `one of ${Object.keys(fields).join(", ")}`, kind);
  }
  const ofKind: Readonly<Record<string, Field>> = fields[kind];
  requireOptions("description", description, { version: true, kind: true, ...ofKind });
  if ("projection" in ofKind) checkProjectionDescription((description as PositiveDescription).projection);
  const given: Readonly<Record<string, unknown>> = { ...description };
  for (const [name, field] of Object.entries(ofKind)) {
    if (field === "array") requireArray(`description.${name}`, given[name], "an array of numbers");
  }
  if (kind === "trigonometric") requireName("description.variant", description.variant, ["phase", "pair"]);
  if (kind === "generalized") {
    requireName("description.function", description.function, Object.keys(elementwiseFunctions));
    for (const name of ["queryFactor", "keyFactor"] as const) {
      const factor = description[name];
      if (factor !== undefined) requireName(`description.${name}`, factor, Object.keys(rowFactorExponents));
    }
    const { epsilon = 0 } = description;
    if (!(epsilon >= 0) || epsilon === Infinity) {
      throw new ArgumentError("description.epsilon", "a finite number of at least 0", epsilon);
    }
  }
}

function requireName(argument: string, given: unknown, names: readonly string[]): void {
  if (!names.some((name) => name === given)) throw new ArgumentError(argument, `one of ${names.join(", ")}`, given);
}
