import { requireLength } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { identity } from "../linear-algebra/products.ts";
import { drawProjection } from "../projections/projection.ts";
import type { ProjectionDescription } from "../projections/description.ts";
import { log } from "../random/elementary.ts";
import type { ExponentialForm } from "./exponential-form.ts";

/**
 * The variance-optimal a of one dimension for FAVOR# (2302.00787, section 3.2), if x + y has the mean square `lambda`
 * there:
 *
 *     rho = (sqrt((2 lambda + 1)^2 + 8 lambda) - 2 lambda - 1) / (4 lambda),   a = (1 - 1/rho) / 8
 *
 * 0 for lambda 0, negative otherwise.
 *
 * @throws ArgumentError for a negative lambda.
 */
export function optimalExponent(lambda: number): number {
  if (!(lambda >= 0) || lambda === Infinity) throw new ArgumentError("lambda", "a finite number of at least 0", lambda);
  // The numerator times its conjugate is 8 lambda. This form of 1 / rho avoids cancellation for small lambda.
  const inverseRho = (Math.sqrt((2 * lambda + 1) * (2 * lambda + 1) + 8 * lambda) + 2 * lambda + 1) / 2;
  return (1 - inverseRho) / 8;
}

/**
 * FAVOR# with diagonal A, for inputs that are centred and rotated beforehand:
 *
 *     log phi_m(x) = sum_l a_l w_ml^2 + sum_l b_l w_ml x_l - |x|^2/2 + (1/4) sum_l log(1 - 4 a_l) - log(M)/2
 *
 * with b_l = sqrt(1 - 4 a_l). Unbiased for exp(x.y) for every a < 1/4, with finite variance for a < 1/8; a = 0 is
 * FAVOR+. The terms that depend on w alone become the form's `logWeight`, for both sides together.
 */
export function denseExponentialForm({
  projection,
  a,
}: {
  readonly projection: ProjectionDescription;
  readonly a: ArrayLike<number>;
}): ExponentialForm {
  const { dim, count } = projection;
  requireLength("description.a", a, dim);
  return {
    dim,
    count,
    queryMean: new Float64Array(dim),
    queryMatrix: identity(dim),
    keyMean: new Float64Array(dim),
    keyMatrix: identity(dim),
    keyWeight: new Float64Array(dim),
    ...denseExponentialProjection(projection, a),
    subtractNorms: true,
  };
}

/**
 * For both sides, b_l w_ml `[count, dim]` and the log weights 2 sum_l a_l w_ml^2 + (1/2) sum_l log(1 - 4 a_l) - log M.
 */
export function denseExponentialProjection(
  projection: ProjectionDescription,
  a: ArrayLike<number>,
): Pick<ExponentialForm, "queryProjection" | "keyProjection" | "logWeight"> {
  const { dim, count } = projection;
  const scaled = drawProjection(projection);
  const logWeight = new Float64Array(count);
  let constant = -log(count);
  for (let l = 0; l < dim; l++) {
    const exponent = a[l]!;
    if (!(exponent < 0.125) || exponent === -Infinity) {
      throw new ArgumentError(`description.a[${l}]`, "a finite number below 1/8", exponent);
    }
    constant += 0.5 * log(1 - 4 * exponent);
    const b = Math.sqrt(1 - 4 * exponent);
    for (let m = 0; m < count; m++) {
      const w = scaled[m * dim + l]!;
      logWeight[m]! += 2 * exponent * w * w;
      scaled[m * dim + l] = b * w;
    }
  }
  for (let m = 0; m < count; m++) logWeight[m]! += constant;
  return { queryProjection: scaled, keyProjection: scaled, logWeight };
}
