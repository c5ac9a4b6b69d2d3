import { requireInteger } from "../checks.ts";
import type { EluDescription } from "./description.ts";
import { directFeatureMap } from "./direct.ts";
import { eluPlusOne } from "./elementwise.ts";
import type { FeatureMap } from "./feature-map.ts";

/** phi(x) = elu(x) + 1, that is x + 1 above 0 and exp(x) below (2006.16236, equation 7); width d. */
export function eluFeatureMap(description: EluDescription): FeatureMap {
  const { dim } = description;
  requireInteger("description.dim", dim, 1, 1 << 20);
  return directFeatureMap(description, dim, dim, {
    features: (x) => x.map(eluPlusOne),
    backward: (x, upstream) => upstream.map((value, i) => value * (x[i]! > 0 ? 1 : Math.exp(x[i]!))),
  });
}
