import { dot } from "../linear-algebra/products.ts";
import type { ProjectionDescription } from "./description.ts";
import type { ProjectionKernel } from "./kernel.ts";

/** A projection kept as its matrix `[count, dim]`. */
export function denseProjection(description: ProjectionDescription, matrix: Float64Array): ProjectionKernel {
  const { count, dim } = description;
  return {
    storage: count * dim,
    operations: 2 * count * dim,
    project(x, start, out, target) {
      for (let m = 0; m < count; m++) out[target + m] = dot(x, start, matrix, m * dim, dim);
    },
    matrix,
  };
}
