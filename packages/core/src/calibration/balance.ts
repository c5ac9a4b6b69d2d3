import { requireFinite, requireInteger, requireLength, requireObject } from "../checks.ts";
import type { HeadCoordinates } from "../features/coordinates.ts";
import { multiply, multiplyTransposed } from "../linear-algebra/products.ts";
import { symmetricEigen, symmetricFunction } from "../linear-algebra/symmetric-eigen.ts";
import type { HeadMoments } from "./moments.ts";

/** Eigenvalues of a covariance below this share of the largest are raised to it. */
const eigenvalueFloor = 1e-4;

/** Centring, balance and rotation of one head: queryMatrix = U A, keyMatrix = U A^-T; {@link balance}. */
export interface Balance extends HeadCoordinates {
  /** lambda, [dim], descending: the variances of q' + k' for independent q', k'. */
  readonly eigenvalues: Float64Array;
}

/**
 * Steps 1 to 4 of the calibration: centre, balance and rotate the queries and keys of a head.
 *
 * Softmax does not change if the same vector is subtracted from every key, and what centring takes from the queries is
 * an exact weight per key. Any invertible A leaves q.k = (A q).(A^-T k). A = G^(1/2), with the geometric mean
 *
 *     G = S_q^(-1/2) (S_q^(1/2) S_k S_q^(1/2))^(1/2) S_q^(-1/2),   the solution of G S_q G = S_k,
 *
 * gives both sides the same covariance A S_q A. U holds the eigenvectors of the sum of the two covariances, lambda its
 * eigenvalues. The eigenvalues of S_q and S_k are floored at 1e-4 of the largest.
 *
 * @throws ArgumentError for arrays of the wrong length or with values that are not finite.
 */
export function balance(moments: HeadMoments): Balance {
  requireObject("moments", moments, "what MomentAccumulator.moments() gives");
  const { dim } = moments;
  requireInteger("moments.dim", dim, 1, 1 << 20);
  requireLength("moments.queryMean", moments.queryMean, dim);
  requireLength("moments.keyMean", moments.keyMean, dim);
  requireFinite("moments.queryMean", moments.queryMean);
  requireFinite("moments.keyMean", moments.keyMean);
  requireLength("moments.queryCovariance", moments.queryCovariance, dim * dim);
  requireLength("moments.keyCovariance", moments.keyCovariance, dim * dim);
  const product = (a: Float64Array, b: Float64Array): Float64Array => multiply(a, b, dim, dim, dim);

  const queryEigen = symmetricEigen(moments.queryCovariance, dim);
  const keyEigen = symmetricEigen(moments.keyCovariance, dim);
  const queryFloor = floorOf(queryEigen.values);
  const keyFloor = floorOf(keyEigen.values);
  const queryRoot = symmetricFunction(queryEigen, (value) => Math.sqrt(Math.max(value, queryFloor)));
  const queryInverseRoot = symmetricFunction(queryEigen, (value) => 1 / Math.sqrt(Math.max(value, queryFloor)));
  const keyCovariance = symmetricFunction(keyEigen, (value) => Math.max(value, keyFloor));

  const inner = symmetricEigen(product(product(queryRoot, keyCovariance), queryRoot), dim);
  const innerRoot = symmetricFunction(inner, (value) => Math.sqrt(positive(value, inner.values)));
  const mean = symmetricEigen(product(product(queryInverseRoot, innerRoot), queryInverseRoot), dim);
  const a = symmetricFunction(mean, (value) => Math.sqrt(positive(value, mean.values)));
  const inverse = symmetricFunction(mean, (value) => 1 / Math.sqrt(positive(value, mean.values)));

  const queryCovariance = symmetricFunction(queryEigen, (value) => Math.max(value, queryFloor));
  const balancedQuery = product(product(a, queryCovariance), a);
  const balancedKey = product(product(inverse, keyCovariance), inverse);
  const { values, vectors } = symmetricEigen(
    balancedQuery.map((value, i) => value + balancedKey[i]!),
    dim,
  );
  return {
    queryMean: moments.queryMean.slice(),
    keyMean: moments.keyMean.slice(),
    // A and its inverse are symmetric, so a product with their transpose is a product with them.
    queryMatrix: multiplyTransposed(vectors, a, dim, dim, dim),
    keyMatrix: multiplyTransposed(vectors, inverse, dim, dim, dim),
    eigenvalues: values.map((value) => Math.max(value, 0)),
  };
}

/** The vectors of a head may all be equal and have no variance; any positive floor then works. */
function floorOf(eigenvalues: Float64Array): number {
  const largest = eigenvalues[0]!;
  return largest > 0 ? eigenvalueFloor * largest : eigenvalueFloor;
}

/** Rounding can leave the smallest eigenvalue of a positive definite product at or below zero. */
function positive(value: number, eigenvalues: Float64Array): number {
  return Math.max(value, Number.EPSILON * eigenvalues[0]!);
}
