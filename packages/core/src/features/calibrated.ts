import { coordinatesOf } from "./coordinates.ts";
import type { CalibratedDescription } from "./description.ts";
import { denseExponentialProjection } from "./dense-exponential.ts";
import { checkExponentialForm } from "./exponential-form.ts";
import type { ExponentialForm } from "./exponential-form.ts";

/**
 * Dense-exponential features of q' = queryMatrix (q - queryMean) and k' = keyMatrix (k - keyMean). They follow from
 * exp(q.k) by exact identities, so the estimate stays unbiased:
 *
 *     q.k = q'.k' + queryMean.(k - keyMean) + q.keyMean,   because queryMatrix^T keyMatrix = 1.
 */
export function calibratedForm(description: CalibratedDescription): ExponentialForm {
  const { projection, a } = description;
  const form: ExponentialForm = {
    dim: projection.dim,
    count: projection.count,
    ...coordinatesOf(description),
    keyWeight: Float64Array.from(description.queryMean),
    ...denseExponentialProjection(projection, a),
    subtractNorms: true,
  };
  checkExponentialForm(form);
  return form;
}
