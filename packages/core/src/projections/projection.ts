import { rowCount } from "../checks.ts";
import { denseProjection } from "./dense.ts";
import { checkProjectionDescription } from "./description.ts";
import type { ProjectionDescription } from "./description.ts";
import { givensProjection } from "./givens.ts";
import { hadamardProjection } from "./hadamard.ts";
import { drawGaussian } from "./iid.ts";
import type { ProjectionKernel } from "./kernel.ts";
import { drawOrthogonal } from "./orthogonal.ts";

/** A drawn projection. Kinds that allow it are applied without forming the matrix. */
export interface Projection {
  readonly description: ProjectionDescription;
  /** Numbers stored: M d for dense kinds, O(M log d) for Givens, O(M) for Hadamard. */
  readonly storage: number;
  /** Multiplications and additions to project one vector: 2 M d, or O(M log d). */
  readonly operations: number;
  /** x `[rows, dim]` to x W^T `[rows, count]`, row-major. */
  apply(x: Float64Array): Float64Array;
  /** W, `[count, dim]` row-major. */
  materialize(): Float64Array;
}

/**
 * Draws a projection (section 2.4 of 2006.03555).
 *
 * @throws ArgumentError for an invalid description.
 */
export function createProjection(description: ProjectionDescription): Projection {
  checkProjectionDescription(description);
  const kernel = drawKernel(description);
  const { count, dim } = description;
  return {
    description,
    storage: kernel.storage,
    operations: kernel.operations,
    apply(x) {
      const rows = rowCount("x", x, dim);
      const out = new Float64Array(rows * count);
      for (let row = 0; row < rows; row++) kernel.project(x, row * dim, out, row * count);
      return out;
    },
    materialize: () => kernel.matrix?.slice() ?? materialize(kernel, count, dim),
  };
}

/**
 * The matrix of a projection, `[count, dim]` row-major.
 *
 * @throws ArgumentError as {@link createProjection}.
 */
export function drawProjection(description: ProjectionDescription): Float64Array {
  return createProjection(description).materialize();
}

function drawKernel(description: ProjectionDescription): ProjectionKernel {
  switch (description.kind) {
    case "iid":
      return denseProjection(description, drawGaussian(description));
    case "orthogonal":
      return denseProjection(description, drawOrthogonal(description));
    case "hadamard":
      return hadamardProjection(description);
    case "givens":
      return givensProjection(description);
  }
}

/** Projects the unit vectors, which gives the columns of the matrix. */
function materialize(kernel: ProjectionKernel, count: number, dim: number): Float64Array {
  const out = new Float64Array(count * dim);
  const unit = new Float64Array(dim);
  const column = new Float64Array(count);
  for (let i = 0; i < dim; i++) {
    unit[i] = 1;
    kernel.project(unit, 0, column, 0);
    unit[i] = 0;
    for (let row = 0; row < count; row++) out[row * dim + i] = column[row]!;
  }
  return out;
}
