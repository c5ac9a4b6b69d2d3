import { requireInteger } from "../checks.ts";
import { coordinatesOf } from "./coordinates.ts";
import type { LandmarkDescription } from "./description.ts";
import { checkExponentialForm } from "./exponential-form.ts";
import type { ExponentialForm } from "./exponential-form.ts";

/**
 * Landmark features: phi_q = exp(z_m.q'), phi_k = exp(y_m.k' + queryMean.(k - keyMean)),
 * exp(q.k) ~ exp(q.keyMean) phi_q^T diag(exp(logWeight)) C phi_k.
 */
export function landmarkForm(description: LandmarkDescription): ExponentialForm {
  const { dim, count } = description;
  requireInteger("description.dim", dim, 1, 1 << 20);
  requireInteger("description.count", count, 1, 1 << 20);
  const form: ExponentialForm = {
    dim,
    count,
    ...coordinatesOf(description),
    keyWeight: Float64Array.from(description.queryMean),
    queryProjection: Float64Array.from(description.keyLandmarks),
    keyProjection: Float64Array.from(description.queryLandmarks),
    logWeight: Float64Array.from(description.logWeight),
    subtractNorms: false,
    core: Float64Array.from(description.core),
  };
  checkExponentialForm(form);
  return form;
}
