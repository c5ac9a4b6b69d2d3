import { orthogonalFactor } from "../linear-algebra/householder.ts";
import { streamPurpose } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";
import { drawNorms } from "./norms.ts";
import { projectionStream } from "./stream.ts";

/**
 * The Regular ORF of 2006.03555, `[count, dim]`: independent d x d blocks, each uniform over the orthogonal group (QR
 * of a Gaussian matrix by Householder reflections), the last one cut off after the rows that are needed; rows scaled by
 * {@link drawNorms}. Rows of one block are orthogonal; with chi norms, every single row is Gaussian.
 */
export function drawOrthogonal(description: ProjectionDescription): Float64Array {
  const { count, dim } = description;
  const stream = projectionStream(description, streamPurpose.projection);
  const norms = drawNorms(description);
  const out = new Float64Array(count * dim);
  for (let first = 0; first < count; first += dim) {
    const block = orthogonalFactor(stream.gaussians(dim * dim), dim);
    const rows = Math.min(dim, count - first);
    for (let row = 0; row < rows; row++) {
      const norm = norms[first + row]!;
      for (let i = 0; i < dim; i++) out[(first + row) * dim + i] = norm * block[row * dim + i]!;
    }
  }
  return out;
}
