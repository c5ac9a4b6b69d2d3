import { requireInteger, requirePositive } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface UniformBoundOptions {
  /** d */
  readonly dim: number;
  /** R, the largest length of a query or key before the factor d^(-1/4). */
  readonly radius: number;
  /** The largest allowed error of any entry of A = exp(q.k / sqrt(d)). */
  readonly epsilon: number;
  /** The probability with which the bound may fail, in (0, 1). Default 0.05. */
  readonly failure?: number;
  /** The trigonometric variant; default "pair". */
  readonly variant?: "phase" | "pair";
}

const ballNames: OptionNames<Omit<UniformBoundOptions, "failure">> = {
  dim: true,
  radius: true,
  epsilon: true,
  variant: true,
};

export interface UniformBound {
  /** delta = epsilon / (g* h*), the allowed error of the Gaussian kernel; g* = h* = exp(R^2 / (2 sqrt(d))). */
  readonly delta: number;
  /** M_opt = (d / delta^2) log(4 d^(3/4) R / delta): the theorem's order, constant 1. */
  readonly order: number;
  /** How many rows of the projection suffice, all constants included. Usually far more than you need in practice. */
  readonly count: number;
}

/**
 * Theorem 1 of 2006.03555 (uniform convergence): with M = Theta(M_opt) random vectors, every entry of the estimate of A
 * is within epsilon of its true value, for all queries and keys of length at most R at once. Its norm is therefore the
 * largest entry: the largest sum of a row may be L times that, and for a norm of matrices no M could be the same for all L.
 *
 * Its sigma is E[w.w] = d, which makes its order that of Theorem 4 of 2009.14794. Both leave the constant open. Here it
 * is that of random Fourier features on a ball, which their proofs build on: with sigma^2 = E |w|^2 = d, and queries
 * and keys in a ball of diameter l = 2 R d^(-1/4),
 *
 *     P[sup |B_hat - B| > delta] <= 256 (sigma l / delta)^2 exp(-M delta^2 / c),
 *
 * c = 4 (d + 2) for the sin/cos pair (Rahimi and Recht, 2007, Claim 1), c = 32 (d + 1) for the cosine with phase
 * (Sutherland and Schneider, 2015, Proposition 2, whose 98 is replaced by the larger 256). Both ask for delta <= sigma l.
 * A smaller ball lies in the ball of diameter delta / sigma, whose bound therefore holds for it. All of this is for
 * independent vectors. Orthogonal ones have less variance at most points, but more at some (see
 * `kernelVariance`), and no proven constant.
 *
 * @throws ArgumentError if a size is out of range.
 */
export function theorem1(options: UniformBoundOptions): UniformBound {
  requireOptions("options", options, { ...ballNames, failure: true }, "{ dim: 64, radius: 1, epsilon: 0.1 }");
  const { failure = 0.05 } = options;
  const { dim, radius } = options;
  const { delta, ratio, scale } = parts(options);
  if (!(failure > 0 && failure < 1)) throw new ArgumentError("options.failure", "a number between 0 and 1", failure);
  const order = (dim / delta ** 2) * Math.max(0, Math.log((4 * dim ** 0.75 * radius) / delta));
  const count = Math.max(1, Math.ceil((scale / delta ** 2) * Math.log((256 * ratio ** 2) / failure)));
  return { delta, order, count };
}

/**
 * The inverse of {@link theorem1}: the probability, at most 1, that `count` random vectors do not suffice.
 *
 * @throws ArgumentError if a number is out of range.
 */
export function theorem1Failure(options: Omit<UniformBoundOptions, "failure">, count: number): number {
  requireInteger("count", count, 1, Number.MAX_SAFE_INTEGER);
  requireOptions("options", options, ballNames, "{ dim: 64, radius: 1, epsilon: 0.1 }");
  const { delta, ratio, scale } = parts(options);
  return Math.min(1, 256 * ratio ** 2 * Math.exp((-count * delta ** 2) / scale));
}

/** `ratio` is sigma l / delta, at least 1, where the bound begins to hold. */
function parts(options: Omit<UniformBoundOptions, "failure">): { delta: number; ratio: number; scale: number } {
  const { dim, radius, epsilon, variant = "pair" } = options;
  requireInteger("options.dim", dim, 1, 1 << 20);
  requirePositive("options.radius", radius);
  requirePositive("options.epsilon", epsilon);
  if (variant !== "pair" && variant !== "phase") {
    throw new ArgumentError("options.variant", "pair or phase", variant);
  }
  const length = radius * dim ** -0.25;
  const delta = epsilon * Math.exp(-length * length);
  return {
    delta,
    ratio: Math.max(1, (Math.sqrt(dim) * 2 * length) / delta),
    scale: variant === "pair" ? 4 * (dim + 2) : 32 * (dim + 1),
  };
}
