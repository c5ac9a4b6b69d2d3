import { requireInteger } from "../checks.ts";
import { plainCoordinates } from "../features/coordinates.ts";
import { optimalExponent } from "../features/dense-exponential.ts";
import { descriptionVersion } from "../features/description.ts";
import type { CalibratedDescription } from "../features/description.ts";
import type { ProjectionKind } from "../projections/description.ts";
import { balance } from "./balance.ts";
import type { HeadMoments } from "./moments.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

export interface CalibrateOptions {
  /** Features M. */
  readonly count: number;
  readonly seed: number;
  readonly layer?: number;
  readonly head?: number;
  /** Default "orthogonal". */
  readonly projection?: ProjectionKind;
}

/** The names of {@link CalibrateOptions}. */
export const calibrateNames: OptionNames<CalibrateOptions> = {
  count: true,
  seed: true,
  layer: true,
  head: true,
  projection: true,
};

/**
 * Derives the feature map of one head from its moments: {@link balance}, then dense-exponential features (FAVOR#,
 * 2302.00787) with the closed-form a for each dimension's lambda, {@link optimalExponent}. The estimate of exp(q.k) is
 * unbiased for any moments; the better they fit, the smaller its variance. O(d^3).
 *
 * @throws ArgumentError for invalid moments or options.
 */
export function calibrate(moments: HeadMoments, options: CalibrateOptions): CalibratedDescription {
  requireOptions("options", options, calibrateNames, "{ count: 128, seed: 0 }");
  const { count, seed, layer = 0, head = 0, projection = "orthogonal" } = options;
  requireInteger("options.count", count, 1, 1 << 20);
  const balanced = balance(moments);
  return {
    version: descriptionVersion,
    kind: "calibrated",
    projection: { kind: projection, count, dim: moments.dim, seed, layer, head },
    a: Array.from(balanced.eigenvalues, optimalExponent),
    ...plainCoordinates(balanced),
  };
}
