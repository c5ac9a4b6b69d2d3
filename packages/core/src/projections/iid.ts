import { RandomStream, streamPurpose } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";

/** Independent standard normal entries, `[count, dim]`. */
export function drawGaussian(description: ProjectionDescription): Float64Array {
  const stream = new RandomStream({ ...description, purpose: streamPurpose.projection });
  return stream.gaussians(description.count * description.dim);
}
