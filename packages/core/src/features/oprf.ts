import { requireInteger } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import type { OprfDescription } from "./description.ts";
import { denseExponentialForm } from "./dense-exponential.ts";
import type { ExponentialForm } from "./exponential-form.ts";

/**
 * The variance-optimal `a` of FAVOR++ (2205.15317, Theorem 2 and its equation for rho*), for vectors whose sum has the
 * mean square norm s = `meanSquare` = E |x + y|^2:
 *
 *     rho = (sqrt((2s + d)^2 + 8ds) - 2s - d) / (4s),   a = (1 - 1/rho) / 8
 *
 * @throws ArgumentError for a negative `meanSquare`.
 */
export function optimalOprf(meanSquare: number, dim: number): number {
  requireInteger("dim", dim, 1, 1 << 20);
  if (!(meanSquare >= 0) || meanSquare === Infinity) {
    throw new ArgumentError("meanSquare", "a finite number of at least 0", meanSquare);
  }
  const sum = 2 * meanSquare + dim;
  const inverseRho = (Math.sqrt(sum * sum + 8 * dim * meanSquare) + sum) / (2 * dim);
  return (1 - inverseRho) / 8;
}

/**
 * FAVOR++ (2205.15317): phi_m(x) = D exp(a |w_m|^2 + b w_m.x - |x|^2/2) / sqrt(M), b = sqrt(1 - 4a), D = (1 -
 * 4a)^(d/4). Positive, and bounded if a < 0.
 */
export function oprfForm({ projection, a }: OprfDescription): ExponentialForm {
  const all = Array.from({ length: projection.dim }, () => a);
  return denseExponentialForm({ projection, a: all });
}
