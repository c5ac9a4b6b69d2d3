import { requireInteger } from "../checks.ts";
import type { SquaredReluDescription } from "./description.ts";
import { directFeatureMap } from "./direct.ts";
import { elementwiseFunctions } from "./elementwise.ts";
import type { FeatureMap } from "./feature-map.ts";

/** phi(x) = max(x, 0)^2; width d. A query without a positive entry attends to nothing and gets 0. */
export function squaredReluFeatureMap(description: SquaredReluDescription): FeatureMap {
  const { dim } = description;
  const { value, derivative } = elementwiseFunctions["squared-relu"];
  requireInteger("description.dim", dim, 1, 1 << 20);
  return directFeatureMap(description, dim, dim, {
    features: (x) => x.map(value),
    backward: (x, upstream) => upstream.map((gradient, i) => gradient * derivative(x[i]!)),
  });
}
