import { requireLength } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { checkDescription } from "../features/description.ts";
import type { FeatureMapDescription } from "../features/description.ts";
import type { ProjectionDescription } from "../projections/description.ts";

/**
 * The exact variance of phi(x).phi(y) as an estimate of exp(x.y), over draws of the projection; x and y are `[dim]`,
 * both scaled by d^(-1/4). The estimate is unbiased, so this is its mean squared error. With u = |x + y|^2, v = |x -
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
 * and the direction of w_1 + w_2 is uniform. (Theorem 2 of 2009.14794 bounds the gain from below.)
 *
 * @throws ArgumentError for maps and projections without a closed form: other kinds, Hadamard, Givens, norms
 * "sqrt-dim", and dense-exponential features with different a over orthogonal rows.
 */
export function kernelVariance(description: FeatureMapDescription, x: Float64Array, y: Float64Array): number {
  checkDescription(description);
  const { single, pair, projection } = moments(description, x, y);
  const { count, dim, kind } = projection;
  if (kind === "iid") return single / count;
  if (kind !== "orthogonal" || projection.norms === "sqrt-dim") {
    throw new ArgumentError("description.projection", "iid, or orthogonal with chi norms", projection.kind);
  }
  const rest = count % dim;
  const pairs = Math.floor(count / dim) * dim * (dim - 1) + rest * (rest - 1);
  if (pairs > 0 && pair === undefined) {
    throw new ArgumentError("description.a", "equal values, over orthogonal projections", "different ones");
  }
  return (count * single + pairs * (pair ?? 0)) / (count * count);
}

/** The variance of one row's estimate, and the covariance of two rows of a block. */
function moments(
  description: FeatureMapDescription,
  x: Float64Array,
  y: Float64Array,
): { single: number; pair: number | undefined; projection: ProjectionDescription } {
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
  let product = 0;
  let norms = 0;
  for (let l = 0; l < dim; l++) {
    product += x[l]! * y[l]!;
    norms += x[l]! * x[l]! + y[l]! * y[l]!;
  }
  const sum = norms + 2 * product;
  const difference = norms - 2 * product;
  const exponentialPair = Math.exp(-norms) * (confluent(dim, sum / 2) - Math.exp(sum));
  switch (description.kind) {
    case "trigonometric": {
      const kernel = Math.exp(-difference);
      const waves = description.variant === "pair" ? (1 - kernel) ** 2 / 2 : 1 + kernel ** 2 / 2 - kernel;
      return {
        single: Math.exp(norms) * waves,
        pair: Math.exp(norms) * (confluent(dim, -difference / 2) - kernel),
        projection,
      };
    }
    case "positive":
      return { single: Math.exp(2 * product) * Math.expm1(sum), pair: exponentialPair, projection };
    case "hyperbolic":
      return {
        single: (Math.exp(2 * product) * Math.expm1(sum) * -Math.expm1(-sum)) / 2,
        pair: exponentialPair,
        projection,
      };
    case "oprf":
    case "dense-exponential": {
      const a = description.kind === "oprf" ? new Float64Array(dim).fill(description.a) : description.a;
      requireLength("description.a", a, dim);
      let log = -norms;
      for (let l = 0; l < dim; l++) {
        const b = 1 - 4 * a[l]!;
        const c = 1 - 8 * a[l]!;
        if (!(c > 0)) throw new ArgumentError(`description.a[${l}]`, "a number below 1/8", a[l]);
        log += Math.log(b) - Math.log(c) / 2 + (2 * b * (x[l]! + y[l]!) ** 2) / c;
      }
      // With one a for all, exp(2 a (|w_1|^2 + |w_2|^2)) tilts the radii as b rescales them: the same covariance.
      const equal = Array.prototype.every.call(a, (value) => value === a[0]);
      return {
        single: Math.exp(log) - Math.exp(2 * product),
        pair: equal ? exponentialPair : undefined,
        projection,
      };
    }
  }
}

/**
 * 1F1(d; d/2; z), the mean of exp over the norm and direction of two orthogonal rows; by Kummer's transformation for
 * negative z, whose own series cancels: exp(z) 1F1(-d/2; d/2; -z).
 */
function confluent(dim: number, z: number): number {
  const b = dim / 2;
  const a = z < 0 ? -b : dim;
  const argument = Math.abs(z);
  let term = 1;
  let sum = 1;
  for (let k = 0; k < 100_000; k++) {
    term *= ((a + k) * argument) / ((b + k) * (k + 1));
    sum += term;
    // The terms grow until k passes the argument; only then does a small one mean the end.
    if (k > argument && Math.abs(term) <= Math.abs(sum) * 1e-17) break;
  }
  return z < 0 ? Math.exp(z) * sum : sum;
}
