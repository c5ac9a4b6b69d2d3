import { requireInteger, requireLength, requireObject } from "../checks.ts";
import { FavorError } from "../errors.ts";
import { dot, multiplyTransposed } from "../linear-algebra/products.ts";
import { requireOptions } from "../options.ts";
import type { OptionNames } from "../options.ts";

/** The sums of a non-negative fit P ~ Phi_q C Phi_k^T over the inputs of a sample. All `[count, count]`, row-major. */
export interface CoreSystem {
  readonly count: number;
  /** G_q, the mean over inputs of Phi_q^T Phi_q. */
  readonly queryGram: Float64Array;
  /** G_k, the mean of Phi_k^T Phi_k. */
  readonly keyGram: Float64Array;
  /** X, the mean of Phi_q^T P Phi_k. */
  readonly target: Float64Array;
  /** The mean of |P|^2. */
  readonly norm: number;
  /**
   * The mean of Phi_q^T (W o (Phi_q C Phi_k^T)) Phi_k, where W is 1 for the entries of P that count and 0 for all
   * others. Default: all count, so that it is G_q C G_k. P is then 0 outside W.
   */
  readonly predict?: (core: Float64Array) => Float64Array;
}

export interface CoreFitOptions {
  /** The most updates. Default 200. */
  readonly iterations?: number;
  /** Stops after an update that lowers the residual by less than this. Default 5e-4. */
  readonly tolerance?: number;
}

/** The names of {@link CoreFitOptions}. */
export const coreFitNames: OptionNames<CoreFitOptions> = { iterations: true, tolerance: true };

export interface CoreFit {
  /** C, [count, count], no entry negative. */
  readonly core: Float64Array;
  /** How many updates were made. */
  readonly iterations: number;
  /** (|P|^2 - 2 <C, X> + <C, G_q C G_k>) / |P|^2: about the share of P's squared norm that the fit misses. */
  readonly residual: number;
}

/**
 * Minimises |P - Phi_q C Phi_k^T|^2 over C >= 0 by multiplicative updates (Lee and Seung, 2001),
 *
 *     C <- C * (X / (G_q C G_k))^w,     with weights W:  C <- C * (X / (Phi_q^T (W o Phi_q C Phi_k^T) Phi_k))^w,
 *
 * which keep every entry positive. w = 3/2 over-relaxes: each update goes half as far again, at no cost. If the
 * residual ever rises, w becomes 1 for good, with which it cannot rise. It starts from the constant matrix with the
 * least residual. Each update costs 2 count^3 multiplications.
 *
 * @throws ArgumentError for arrays of the wrong size; FavorError `degenerate-fit` if X holds no positive number.
 */
export function fitCore(system: CoreSystem, options: CoreFitOptions = {}): CoreFit {
  requireOptions("options", options, coreFitNames);
  return fitNonNegative(system, options);
}

/** {@link fitCore} by the options of another function, which has checked their names. */
export function fitNonNegative(system: CoreSystem, options: CoreFitOptions): CoreFit {
  requireObject("system", system, "{ count, queryGram, keyGram, target, norm }");
  const { count, queryGram, keyGram, target, norm } = system;
  const { iterations = 200, tolerance = 5e-4 } = options;
  requireInteger("system.count", count, 1, 1 << 20);
  requireInteger("options.iterations", iterations, 1, 1 << 20);
  for (const name of ["queryGram", "keyGram", "target"] as const) {
    requireLength(`system.${name}`, system[name], count * count);
  }
  const predicted =
    system.predict ??
    ((core: Float64Array): Float64Array =>
      // Gram matrices are symmetric: G_q (G_k C^T)^T.
      multiplyTransposed(queryGram, multiplyTransposed(keyGram, core, count, count, count), count, count, count));
  const residualOf = (core: Float64Array, prediction: Float64Array): number =>
    1 + (dot(core, 0, prediction, 0, core.length) - 2 * dot(core, 0, target, 0, core.length)) / norm;

  let core = new Float64Array(count * count).fill(1);
  let prediction = predicted(core);
  const start = dot(core, 0, target, 0, core.length) / dot(core, 0, prediction, 0, core.length);
  if (!(start > 0) || start === Infinity) {
    throw new FavorError(
      `The non-negative fit has nothing to fit: the sum of its targets over that of its predictions is ${start}. ` +
        "Look for queries or keys that are all equal, or not finite, in the calibration sample.",
      { code: "degenerate-fit", details: { count, start } },
    );
  }
  core.fill(start);
  prediction = prediction.map((value) => value * start);
  let residual = residualOf(core, prediction);
  let relaxed = true;
  let done = 0;
  while (done < iterations) {
    done++;
    const next = core.map((value, i) => {
      // A product of features that never meet has no prediction and no target.
      const ratio = prediction[i]! > 0 ? Math.max(target[i]!, 0) / prediction[i]! : 1;
      return value * (relaxed ? ratio * Math.sqrt(ratio) : ratio);
    });
    const nextPrediction = predicted(next);
    const nextResidual = residualOf(next, nextPrediction);
    if (relaxed && !(nextResidual <= residual)) {
      relaxed = false;
      continue;
    }
    const gain = residual - nextResidual;
    core = next;
    prediction = nextPrediction;
    residual = nextResidual;
    if (!(gain >= tolerance)) break;
  }
  return { core, iterations: done, residual };
}
