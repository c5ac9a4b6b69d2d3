import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import { requireFeatureMap } from "./feature-map.ts";
import type { FeatureMap } from "./feature-map.ts";
import { multiplyFeatures, namedFactor } from "./row-factor.ts";
import type { LogFactor } from "./row-factor.ts";
import { rowFactorExponents } from "./row-factor-name.ts";
import type { RowFactorName } from "./row-factor-name.ts";

/** A function of one query or key x `[dim]`, g or h of 2006.03555, with its gradient if it is to be differentiated. */
export interface RowFactor {
  readonly value: (x: Float64Array) => number;
  readonly gradient?: (x: Float64Array) => Float64Array;
}

export interface RowFactors {
  /** g. Default 1. It cancels in the normaliser, but for its zeros: a query with g = 0 attends to nothing. */
  readonly queryFactor?: RowFactorName | RowFactor;
  /** h. Default 1. Where it is 0, the key is hidden. */
  readonly keyFactor?: RowFactorName | RowFactor;
}

/**
 * The feature map of g(q) K(q, k) h(k), for a feature map of K: phi_q is multiplied by g(q), phi_k by h(k). This is
 * generalized attention (2006.03555, section 2.2) in full; any kernel K that features estimate may have any g and h. The
 * gradient at a row whose factor is 0 counts as 0.
 *
 * The description of the result is that of `featureMap`, which does not have g and h in it.
 *
 * @throws ArgumentError for a factor that is neither a name nor has a function `value`.
 */
export function withRowFactors(featureMap: FeatureMap, factors: RowFactors): FeatureMap {
  requireFeatureMap("featureMap", featureMap);
  requireOptions("factors", factors, { queryFactor: true, keyFactor: true }, '{ keyFactor: "exp-half-square" }');
  return multiplyFeatures(
    featureMap,
    logFactor("factors.queryFactor", factors.queryFactor),
    logFactor("factors.keyFactor", factors.keyFactor),
  );
}

function logFactor(argument: string, given: RowFactorName | RowFactor | undefined): LogFactor {
  if (given === undefined) return namedFactor(given);
  if (typeof given === "string" && Object.hasOwn(rowFactorExponents, given)) return namedFactor(given);
  if (typeof given !== "object" || typeof (given as Partial<RowFactor> | null)?.value !== "function") {
    throw new ArgumentError(argument, `${Object.keys(rowFactorExponents).join(", ")}, or { value: (x) => ... }`, given);
  }
  requireOptions(argument, given, { value: true, gradient: true });
  const { value, gradient } = given;
  return {
    log: (x) => Math.log(Math.abs(value(x))),
    sign: (x) => Math.sign(value(x)),
    logGradient(x) {
      if (gradient === undefined) {
        throw new ArgumentError(`${argument}.gradient`, "a function, for gradients", gradient);
      }
      const at = value(x);
      return gradient(x).map((slope) => slope / at);
    },
  };
}
