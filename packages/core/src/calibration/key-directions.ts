import { requireArray, requireInteger, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { addTransposedProduct } from "../linear-algebra/products.ts";
import { symmetricEigen } from "../linear-algebra/symmetric-eigen.ts";
import { requireOptions } from "../options.ts";

/**
 * The directions along which the keys of a head differ most within blocks, for the selector `keyDeviations`: the first
 * eigenvectors of the covariance of keys around the mean of their block, over a sample. O(keys d^2 + d^3).
 *
 * @param keys One array `[rows, dim]` per sequence, unpadded; their scale does not matter.
 * @param options.window The width of a block.
 * @param options.count How many directions. Default 8; at most `dim`.
 * @returns `[count, dim]`, orthonormal.
 * @throws ArgumentError if a length is not a multiple of `dim`, there is no key, or a number is out of range.
 */
export function keyDirections(
  keys: readonly Float64Array[],
  dim: number,
  options: { readonly window: number; readonly count?: number },
): Float64Array {
  requireArray("keys", keys, "an array of keys, one per sequence");
  requireInteger("dim", dim, 1, 1 << 20);
  requireOptions("options", options, { window: true, count: true }, "{ window: 32 }");
  const { window, count = Math.min(8, dim) } = options;
  requireInteger("options.window", window, 1, 1 << 30);
  requireInteger("options.count", count, 1, dim);
  const covariance = new Float64Array(dim * dim);
  for (const [i, key] of keys.entries()) {
    const rows = rowCount(`keys[${i}]`, key, dim);
    const centred = key.slice();
    for (let start = 0; start < rows; start += window) {
      const block = centred.subarray(start * dim, (start + window) * dim);
      const mean = new Float64Array(dim);
      for (let at = 0; at < block.length; at++) mean[at % dim]! += (block[at]! * dim) / block.length;
      for (let at = 0; at < block.length; at++) block[at]! -= mean[at % dim]!;
    }
    addTransposedProduct(centred, centred, rows, dim, dim, covariance);
  }
  if (!keys.some((key) => key.length > 0)) throw new ArgumentError("keys", "at least one key", "none");
  return symmetricEigen(covariance, dim).vectors.slice(0, count * dim);
}
