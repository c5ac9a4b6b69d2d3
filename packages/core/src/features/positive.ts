import type { PositiveDescription } from "./description.ts";
import { denseExponentialForm } from "./dense-exponential.ts";
import type { ExponentialForm } from "./exponential-form.ts";

/** FAVOR+ (2009.14794, Lemma 1): phi_m(x) = exp(w_m.x - |x|^2/2) / sqrt(M), unbiased for exp(x.y) and positive. */
export function positiveForm({ projection }: Pick<PositiveDescription, "projection">): ExponentialForm {
  return denseExponentialForm({ projection, a: new Float64Array(projection.dim) });
}
