import { requireInteger, requireLength, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { multiplyTransposed } from "../linear-algebra/products.ts";
import type { RandomStream } from "../random/stream.ts";
import { requireOptions } from "../options.ts";

export interface KMeansOptions {
  /** `[rows]`, none negative: the weight of each point. Default: all equal. */
  readonly weights?: Float64Array;
  /** The most Lloyd iterations. Default 8; stops earlier if no point changes its centre. */
  readonly iterations?: number;
}

/**
 * Cluster centres of points `[rows, dim]`: k-means++ (Arthur and Vassilvitskii, 2007), then Lloyd's iterations.
 * Deterministic for a given stream. A centre that loses its points stays where it is. If there are fewer distinct
 * points than centres, centres repeat. O(rows count dim) per iteration.
 *
 * @returns `[count, dim]`.
 * @throws ArgumentError if there is no point.
 */
export function kMeans(
  points: Float64Array,
  dim: number,
  count: number,
  stream: RandomStream,
  options: KMeansOptions = {},
): Float64Array {
  requireOptions("options", options, { weights: true, iterations: true });
  const { weights, iterations = 8 } = options;
  requireInteger("count", count, 1, 1 << 20);
  const rows = rowCount("points", points, dim);
  if (rows === 0) throw new ArgumentError("points", "at least one row", 0);
  if (weights !== undefined) requireLength("weights", weights, rows);
  const centres = seedCentres(points, rows, dim, count, stream, weights);
  const assigned = new Int32Array(rows).fill(-1);
  for (let iteration = 0; iteration < iterations; iteration++) {
    if (!assign(points, centres, rows, dim, count, assigned)) break;
    const sums = new Float64Array(count * dim);
    const sizes = new Float64Array(count);
    for (let row = 0; row < rows; row++) {
      const centre = assigned[row]!;
      const weight = weights?.[row] ?? 1;
      sizes[centre]! += weight;
      for (let l = 0; l < dim; l++) sums[centre * dim + l]! += weight * points[row * dim + l]!;
    }
    for (let centre = 0; centre < count; centre++) {
      if (sizes[centre] === 0) continue;
      for (let l = 0; l < dim; l++) centres[centre * dim + l] = sums[centre * dim + l]! / sizes[centre]!;
    }
  }
  return centres;
}

/** k-means++: each further centre is a point drawn with probability proportional to weight times squared distance. */
function seedCentres(
  points: Float64Array,
  rows: number,
  dim: number,
  count: number,
  stream: RandomStream,
  weights: Float64Array | undefined,
): Float64Array {
  const centres = new Float64Array(count * dim);
  const distances = new Float64Array(rows).fill(Infinity);
  const chances = new Float64Array(rows);
  let chosen = drawIndex(weights ?? new Float64Array(rows).fill(1), stream);
  for (let centre = 0; centre < count; centre++) {
    centres.set(points.subarray(chosen * dim, (chosen + 1) * dim), centre * dim);
    for (let row = 0; row < rows; row++) {
      let distance = 0;
      for (let l = 0; l < dim; l++) {
        const difference = points[row * dim + l]! - centres[centre * dim + l]!;
        distance += difference * difference;
      }
      if (distance < distances[row]!) distances[row] = distance;
      chances[row] = distances[row]! * (weights?.[row] ?? 1);
    }
    chosen = drawIndex(chances, stream);
  }
  return centres;
}

/** An index drawn with probability proportional to its chance; uniform when all are 0. */
function drawIndex(chances: Float64Array, stream: RandomStream): number {
  let total = 0;
  for (const chance of chances) total += chance;
  if (!(total > 0)) return stream.integer(chances.length);
  let left = stream.uniform() * total;
  let index = 0;
  while (index < chances.length - 1 && left >= chances[index]!) left -= chances[index++]!;
  return index;
}

/** Assigns every point to its nearest centre (the first of equals); true when any changed. */
function assign(
  points: Float64Array,
  centres: Float64Array,
  rows: number,
  dim: number,
  count: number,
  assigned: Int32Array,
): boolean {
  const halfNorms = new Float64Array(count);
  for (let i = 0; i < centres.length; i++) halfNorms[Math.floor(i / dim)]! += 0.5 * centres[i]! * centres[i]!;
  const products = multiplyTransposed(points, centres, rows, dim, count);
  let changed = false;
  for (let row = 0; row < rows; row++) {
    let nearest = 0;
    let best = -Infinity;
    for (let centre = 0; centre < count; centre++) {
      const closeness = products[row * count + centre]! - halfNorms[centre]!;
      if (closeness > best) {
        best = closeness;
        nearest = centre;
      }
    }
    if (assigned[row] !== nearest) {
      assigned[row] = nearest;
      changed = true;
    }
  }
  return changed;
}
