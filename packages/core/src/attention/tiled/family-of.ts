import { elementwiseFamily } from "./elementwise.ts";
import { exponentialFamily } from "./exponential.ts";
import type { FeatureFamily } from "./family.ts";
import type { FeatureMap32 } from "./features.ts";
import { trigonometricFamily } from "./trigonometric.ts";

/** The family of a prepared feature map, which is plain data so that it can be posted to a worker. */
export function familyOf({ elementwise, phase }: FeatureMap32): FeatureFamily {
  if (elementwise) return elementwiseFamily(elementwise);
  return phase ? trigonometricFamily : exponentialFamily;
}
