import { requireInteger } from "../checks.ts";
import type { SquaredReluDescription } from "./description.ts";
import { directFeatureMap } from "./direct.ts";
import type { FeatureMap } from "./feature-map.ts";

/** phi(x) = max(x, 0)^2; width d. A query without a positive entry attends to nothing and gets 0. */
export function squaredReluFeatureMap(description: SquaredReluDescription): FeatureMap {
  const { dim } = description;
  requireInteger("description.dim", dim, 1, 1 << 20);
  return directFeatureMap(description, dim, dim, (x) => x.map((value) => (value < 0 ? 0 : value * value)));
}
