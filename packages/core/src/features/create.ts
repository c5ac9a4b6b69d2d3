import { ArgumentError } from "../errors.ts";
import { calibratedForm } from "./calibrated.ts";
import { checkDescription } from "./description.ts";
import type { FeatureMapDescription } from "./description.ts";
import { denseExponentialForm } from "./dense-exponential.ts";
import { eluFeatureMap } from "./elu.ts";
import { exponentialFeatureMap } from "./exponential-form.ts";
import type { ExponentialForm } from "./exponential-form.ts";
import type { FeatureMap } from "./feature-map.ts";
import { generalizedFeatureMap } from "./generalized.ts";
import { hyperbolicForm } from "./hyperbolic.ts";
import { landmarkForm } from "./landmark.ts";
import { linearExponentialForm } from "./linear-exponential.ts";
import { oprfForm } from "./oprf.ts";
import { positiveForm } from "./positive.ts";
import { squaredReluFeatureMap } from "./squared-relu.ts";
import { trigonometricFeatureMap } from "./trigonometric.ts";

/**
 * Creates the feature map of a description.
 *
 * @throws ArgumentError for a description that is newer, unknown or inconsistent.
 */
export function createFeatureMap(description: FeatureMapDescription): FeatureMap {
  checkDescription(description);
  switch (description.kind) {
    case "trigonometric":
      return trigonometricFeatureMap(description);
    case "generalized":
      return generalizedFeatureMap(description);
    case "elu":
      return eluFeatureMap(description);
    case "squared-relu":
      return squaredReluFeatureMap(description);
    default:
      return exponentialFeatureMap(description, exponentialForm(description));
  }
}

/**
 * The exponential form of a positive, hyperbolic, oprf, dense-exponential, calibrated, landmark or linear-exponential
 * description.
 *
 * @throws ArgumentError for any other kind, and for a description that is newer or inconsistent.
 */
export function exponentialForm(description: FeatureMapDescription): ExponentialForm {
  checkDescription(description);
  switch (description.kind) {
    case "positive":
      return positiveForm(description);
    case "hyperbolic":
      return hyperbolicForm(description);
    case "oprf":
      return oprfForm(description);
    case "dense-exponential":
      return denseExponentialForm(description);
    case "calibrated":
      return calibratedForm(description);
    case "landmark":
      return landmarkForm(description);
    case "linear-exponential":
      return linearExponentialForm(description);
    default:
      throw new ArgumentError("description.kind", "an exponential feature map", description.kind);
  }
}
