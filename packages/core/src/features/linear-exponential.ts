import { requireInteger, requireObject } from "../checks.ts";
import { coordinatesOf, plainCoordinates } from "./coordinates.ts";
import type { LinearExponentialDescription } from "./description.ts";
import { descriptionVersion } from "./description.ts";
import { checkExponentialForm } from "./exponential-form.ts";
import type { ExponentialForm } from "./exponential-form.ts";
import { ArgumentError } from "../errors.ts";

/** The exponential form of learned features: its arrays as they were learned. */
export function linearExponentialForm(description: LinearExponentialDescription): ExponentialForm {
  requireInteger("description.dim", description.dim, 1, 1 << 20);
  requireInteger("description.count", description.count, 1, 1 << 20);
  const form: ExponentialForm = {
    dim: description.dim,
    count: description.count,
    ...coordinatesOf(description),
    keyWeight: Float64Array.from(description.keyWeight),
    queryProjection: Float64Array.from(description.queryProjection),
    keyProjection: Float64Array.from(description.keyProjection),
    logWeight: Float64Array.from(description.logWeight),
    subtractNorms: description.subtractNorms,
    ...(description.core && { core: Float64Array.from(description.core) }),
  };
  checkExponentialForm(form);
  return form;
}

/**
 * A form without a core as a description, to start learning from.
 *
 * @throws ArgumentError if the form has a core.
 */
export function linearExponential(form: ExponentialForm): LinearExponentialDescription {
  requireObject("form", form, "what exponentialForm gives");
  if (form.core !== undefined) throw new ArgumentError("form.core", "a form without a core", "a core");
  checkExponentialForm(form);
  return {
    version: descriptionVersion,
    kind: "linear-exponential",
    dim: form.dim,
    count: form.count,
    ...plainCoordinates(form),
    keyWeight: Array.from(form.keyWeight),
    queryProjection: Array.from(form.queryProjection),
    keyProjection: Array.from(form.keyProjection),
    logWeight: Array.from(form.logWeight),
    subtractNorms: form.subtractNorms,
  };
}
