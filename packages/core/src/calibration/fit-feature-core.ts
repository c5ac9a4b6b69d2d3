import { requireInteger } from "../checks.ts";
import { unchangedCoordinates } from "../features/coordinates.ts";
import { exponentialForm } from "../features/create.ts";
import type { FeatureMapDescription, LinearExponentialDescription } from "../features/description.ts";
import { exponentialFeatureMap } from "../features/exponential-form.ts";
import type { StabilizedFeatures } from "../features/feature-map.ts";
import { linearExponential } from "../features/linear-exponential.ts";
import { RandomStream, streamPurpose } from "../random/stream.ts";
import { coreSystem } from "./core-system.ts";
import { coreFitNames, fitNonNegative } from "./non-negative-core.ts";
import type { CoreFitOptions } from "./non-negative-core.ts";
import { checkInputs } from "./attention-input.ts";
import { sampleAttention } from "./sample-attention.ts";
import type { AttentionInput } from "./attention-input.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface FitFeatureCoreOptions extends CoreFitOptions {
  /** Seed for the choice of rows. */
  readonly seed: number;
  readonly layer?: number;
  readonly head?: number;
  /** How many query rows to use, over all inputs. Default 2560. Further inputs are left out at random. */
  readonly rows?: number;
}

const names: OptionNames<FitFeatureCoreOptions> = { ...coreFitNames, seed: true, layer: true, head: true, rows: true };

/**
 * Fits a non-negative core to any exponential features, random ones included: the C >= 0 that minimises |P - Phi_q C
 * Phi_k^T|^2 over a sample of one head's inputs. P is the softmax attention, and the rows of Phi_q are divided by
 * softmax's own normaliser, as in `fitLandmarks`. If the description already has a core, it is fitted anew.
 *
 * The result fits the data that it saw and is no longer unbiased: compare it on other inputs with `selectFeatureMap`.
 * It helps if there are few features (count about 2 dim). If attention is peaked, `fitLandmarks`, which also chooses
 * where the features are, comes far nearer to softmax.
 *
 * @param description One with an exponential form: positive, hyperbolic, oprf, dense-exponential, calibrated, landmark
 * or linear-exponential.
 * @param inputs One per sequence: query `[rows, dim]` and key `[rows, dim]`, times d^(-1/4), unpadded.
 * @throws ArgumentError for another kind, shapes that disagree, values that are not finite, or no input; FavorError
 * `degenerate-fit`.
 */
export function fitFeatureCore(
  description: FeatureMapDescription,
  inputs: readonly AttentionInput[],
  options: FitFeatureCoreOptions,
): LinearExponentialDescription {
  requireOptions("options", options, names, "{ seed: 0 }");
  const { seed, layer = 0, head = 0, rows = 2560 } = options;
  requireInteger("options.rows", rows, 1, 1 << 30);
  const { core: _, ...form } = exponentialForm(description);
  const { dim, count } = form;
  checkInputs(inputs, dim);
  const stream = new RandomStream({ seed, layer, head, purpose: streamPurpose.sampling });
  const sample = sampleAttention(inputs, unchangedCoordinates(dim), rows, stream);
  const map = exponentialFeatureMap(description, form);
  const { system, queryLogScale, keyLogScale } = coreSystem(
    sample,
    count,
    sample.map(({ query, logNormaliser }) => logs(map.queryStabilized(query), count, logNormaliser)),
    sample.map(({ key }) => logs(map.keyStabilized(key, { scope: "row" }), count)),
  );
  const { core } = fitNonNegative(system, options);
  return {
    ...linearExponential(form),
    logWeight: Array.from(queryLogScale, (scale) => -scale),
    // without a core, the weight of a feature belongs to the keys
    core: Array.from(core, (value, i) => value * Math.exp(form.logWeight[i % count]! - keyLogScale[i % count]!)),
  };
}

/** log(features exp(logScale)) - less, `[rows, count]`; `less` is `[rows]`. */
function logs({ features, logScale }: StabilizedFeatures, count: number, less?: Float64Array): Float64Array {
  return features.map((value, i) => {
    const row = Math.floor(i / count);
    return Math.log(value) + logScale[row]! - (less?.[row] ?? 0);
  });
}
