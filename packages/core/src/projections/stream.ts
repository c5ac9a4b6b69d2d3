import { RandomStream } from "../random/stream.ts";
import type { ProjectionDescription } from "./description.ts";

/** The random numbers of a projection for one purpose. */
export function projectionStream(description: ProjectionDescription, purpose: number): RandomStream {
  const { seed, layer = 0, head = 0, epoch = 0 } = description;
  return new RandomStream({ seed, purpose, layer, head, epoch });
}
