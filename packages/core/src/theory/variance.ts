import { requireFinite, requireLength } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { checkDescription } from "../features/description.ts";
import type { FeatureMapDescription } from "../features/description.ts";
import type { ProjectionDescription } from "../projections/description.ts";

/**
 * The exact variance of phi(x).phi(y) as an estimate of exp(x.y), over draws of the projection; x and y are `[dim]`,
 * both times d^(-1/4). The estimate is unbiased, so this is its mean squared error. With u = |x + y|^2, v = |x -
 * y|^2 and M rows, for independent Gaussian rows (2009.14794, Lemma 2; the phase variant by the same steps):
 *
 *     positive     exp(2 x.y) (exp(u) - 1) / M
 *     hyperbolic   exp(2 x.y) (exp(u) - 1) (1 - exp(-u)) / (2 M)
 *     pair         exp(|x|^2 + |y|^2) (1 - exp(-v))^2 / (2 M)
 *     phase        exp(|x|^2 + |y|^2) (1 + exp(-2 v) / 2 - exp(-v)) / M
 *     oprf, dense-exponential   (2205.15317, 2302.00787), per dimension
 *                  prod_l (1 - 4 a_l) (1 - 8 a_l)^(-1/2) exp(2 u_l (1 - 4 a_l) / (1 - 8 a_l) - x_l^2 - y_l^2), less exp(2 x.y)
 *
 * Orthogonal rows with chi norms add the covariance of two rows of a block,
 *
 *     exp(-|x|^2 - |y|^2) (1F1(d; d/2; u/2) - exp(u)) <= 0    and    exp(|x|^2 + |y|^2) (1F1(d; d/2; -v/2) - exp(-v))
 *
 * for the exponential and the trigonometric maps, because |w_1|^2 + |w_2|^2 is chi-squared with 2d degrees of freedom
 * and the direction of w_1 + w_2 is uniform. (Theorem 2 of 2009.14794 bounds the gain from below.) The second may be
 * positive for points far apart: there, orthogonal rows have more variance than independent ones.
 *
 * A variance beyond the range of float64 is Infinity.
 *
 * @throws ArgumentError for numbers that are not finite, and for maps and projections without a closed form: other kinds, Hadamard, Givens, norms
 * "sqrt-dim", and dense-exponential features with different a over orthogonal rows.
 */
export function kernelVariance(description: FeatureMapDescription, x: Float64Array, y: Float64Array): number {
  checkDescription(description);
  const { logScale, single, pair, projection } = moments(description, x, y);
  const { count, dim, kind } = projection;
  // Scaled only here: exp(logScale) may overflow where the product does not.
  const scaled = (value: number): number => (value > 0 ? Math.exp(logScale + Math.log(value)) : 0);
  if (kind === "iid") return scaled(single / count);
  if (kind !== "orthogonal" || projection.norms === "sqrt-dim") {
    throw new ArgumentError("description.projection", "iid, or orthogonal with chi norms", projection.kind);
  }
  const rest = count % dim;
  const pairs = Math.floor(count / dim) * dim * (dim - 1) + rest * (rest - 1);
  if (pairs > 0 && pair === undefined) {
    throw new ArgumentError("description.a", "equal values, over orthogonal projections", "different ones");
  }
  return scaled((count * single + pairs * (pair ?? 0)) / (count * count));
}

/** The variance of one row's estimate and the covariance of two rows of a block, both divided by exp(`logScale`). */
function moments(
  description: FeatureMapDescription,
  x: Float64Array,
  y: Float64Array,
): { logScale: number; single: number; pair: number | undefined; projection: ProjectionDescription } {
  switch (description.kind) {
    case "trigonometric":
    case "positive":
    case "hyperbolic":
    case "oprf":
    case "dense-exponential":
      break;
    default:
      throw new ArgumentError("description.kind", "an estimator of exp with a known variance", description.kind);
  }
  const { projection } = description;
  const { dim } = projection;
  requireLength("x", x, dim);
  requireLength("y", y, dim);
  requireFinite("x", x);
  requireFinite("y", y);
  const [a, b] = withinRange(x, y);
  let product = 0;
  let norms = 0;
  let sum = 0;
  let difference = 0;
  for (let l = 0; l < dim; l++) {
    product += a[l]! * b[l]!;
    norms += a[l]! * a[l]! + b[l]! * b[l]!;
    sum += (a[l]! + b[l]!) ** 2;
    difference += (a[l]! - b[l]!) ** 2;
  }
  // Of two exponential rows, divided by exp(2 x.y).
  const exponentialPair = confluent(dim, sum / 2, sum) - 1;
  switch (description.kind) {
    case "trigonometric": {
      const kernel = Math.exp(-difference);
      const single = description.variant === "pair" ? Math.expm1(-difference) ** 2 / 2 : 1 + kernel ** 2 / 2 - kernel;
      return { logScale: norms, single, pair: confluent(dim, -difference / 2, 0) - kernel, projection };
    }
    case "positive":
    case "hyperbolic": {
      const spread = -Math.expm1(-sum);
      const single = description.kind === "positive" ? spread : spread ** 2 / 2;
      return { logScale: 2 * product + sum, single, pair: exponentialPair * Math.exp(-sum), projection };
    }
    case "oprf":
    case "dense-exponential": {
      const exponents = description.kind === "oprf" ? new Float64Array(dim).fill(description.a) : description.a;
      requireLength("description.a", exponents, dim);
      let log = -norms;
      for (let l = 0; l < dim; l++) {
        const numerator = 1 - 4 * exponents[l]!;
        const denominator = 1 - 8 * exponents[l]!;
        if (!(denominator > 0)) throw new ArgumentError(`description.a[${l}]`, "a number below 1/8", exponents[l]);
        log += Math.log(numerator) - Math.log(denominator) / 2 + (2 * numerator * (a[l]! + b[l]!) ** 2) / denominator;
      }
      // With one a for all, exp(2 a (|w_1|^2 + |w_2|^2)) tilts the radii as b rescales them: the same covariance.
      const equal = Array.prototype.every.call(exponents, (value) => value === exponents[0]);
      const share = Math.exp(2 * product - log);
      return { logScale: log, single: 1 - share, pair: equal ? exponentialPair * share : undefined, projection };
    }
  }
}

/** Vectors of which the squares are finite: all results at 1e150 are 0 or Infinity already, and stay so further out. */
function withinRange(x: Float64Array, y: Float64Array): [Float64Array, Float64Array] {
  let largest = 1e150;
  for (const vector of [x, y]) for (const value of vector) largest = Math.max(largest, Math.abs(value));
  const factor = 1e150 / largest;
  return [x.map((value) => value * factor), y.map((value) => value * factor)];
}

/**
 * 1F1(d; d/2; z) exp(-shift), the mean of exp over the norm and direction of two orthogonal rows; by Kummer's
 * transformation for negative z, whose own series cancels: exp(z) 1F1(-d/2; d/2; -z).
 */
function confluent(dim: number, z: number, shift: number): number {
  const b = dim / 2;
  const a = z < 0 ? -b : dim;
  const argument = Math.abs(z);
  // Below 1e-4 either way from here on, and exactly what is subtracted from 1 is then nothing.
  if (argument > 10_000) return 0;
  let logScale = Math.min(z, 0) - shift;
  let term = 1;
  let sum = 1;
  // The terms grow until k passes the argument; only then does a small one mean the end.
  for (let k = 0; k <= argument || Math.abs(term) > Math.abs(sum) * 1e-17; k++) {
    term *= ((a + k) * argument) / ((b + k) * (k + 1));
    sum += term;
    if (Math.abs(sum) > 1e200) {
      term /= 1e200;
      sum /= 1e200;
      logScale += Math.log(1e200);
    }
  }
  // One factor may overflow where the product does not.
  return Math.sign(sum) * Math.exp(logScale + Math.log(Math.abs(sum)));
}
