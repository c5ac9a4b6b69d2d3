import type { Bench } from "./bench.ts";
import type { Site } from "./sites.ts";

/** A change of a graph. */
export interface Mutation {
  readonly name: string;
  /** Makes the change at one site; false if there is nothing to change. */
  readonly apply: (bench: Bench, site: Site) => boolean;
}
