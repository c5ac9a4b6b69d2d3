import { streamPurpose } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";
import { projectionStream } from "./stream.ts";

/** Independent standard normal entries, `[count, dim]`. */
export function drawGaussian(description: ProjectionDescription): Float64Array {
  const stream = projectionStream(description, streamPurpose.projection);
  return stream.gaussians(description.count * description.dim);
}
