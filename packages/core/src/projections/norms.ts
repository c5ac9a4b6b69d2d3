import { streamPurpose } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";
import { projectionStream } from "./stream.ts";

/**
 * The row lengths of a projection whose directions are orthonormal, `[count]`. "chi": each is the length of a fresh
 * Gaussian vector, so that every single row is Gaussian as far as its direction is uniform: exactly so for "orthogonal",
 * nearly for "givens" and "hadamard". "sqrt-dim": sqrt(d), the root mean square of that length.
 */
export function drawNorms(description: ProjectionDescription): Float64Array {
  const { count, dim, norms = "chi" } = description;
  const out = new Float64Array(count).fill(Math.sqrt(dim));
  if (norms === "sqrt-dim") return out;
  const stream = projectionStream(description, streamPurpose.norms);
  for (let row = 0; row < count; row++) {
    let squares = 0;
    for (let i = 0; i < dim; i++) {
      const value = stream.gaussian();
      squares += value * value;
    }
    out[row] = Math.sqrt(squares);
  }
  return out;
}
