import { requireLength, rowCount } from "../checks.ts";
import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import type { FeatureMap, KeyStabilizerOptions, StabilizedFeatures } from "./feature-map.ts";
import { requireFeatureMap } from "./feature-map.ts";
import { scaleKeys, scaleOfRow } from "./stabilizer.ts";

/** exp(|x|^2/2) and exp(-|x|^2/2). With the first as g and h, and a Gaussian kernel, generalized attention is softmax's. */
export type RowFactorName = "exp-half-square" | "exp-minus-half-square";

/** What |x|^2/2 is multiplied by in the log of each factor. */
export const rowFactorExponents: Readonly<Record<RowFactorName, 1 | -1>> = {
  "exp-half-square": 1,
  "exp-minus-half-square": -1,
};

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

/** sign(x) exp(log(x)), so that a factor may exceed the range of numbers. */
interface SignedLog {
  readonly log: (x: Float64Array) => number;
  readonly sign: (x: Float64Array) => number;
  readonly logGradient: (x: Float64Array) => Float64Array;
}

/**
 * The feature map of g(q) K(q, k) h(k), for a feature map of K: phi_q is multiplied by g(q), phi_k by h(k). This is
 * generalized attention (2006.03555, section 2.2) in full; any kernel K that features estimate may have any g and h. In
 * stabilised features the logs of g and h join the log scale, so that neither over- nor underflows.
 *
 * The description of the result is that of `featureMap`, which does not have functions of your own in it.
 *
 * @throws ArgumentError for a factor that is neither a name nor has a function `value`.
 */
export function withRowFactors(featureMap: FeatureMap, factors: RowFactors): FeatureMap {
  requireFeatureMap("featureMap", featureMap);
  requireOptions("factors", factors, { queryFactor: true, keyFactor: true }, '{ keyFactor: "exp-half-square" }');
  const { dim, count } = featureMap;
  const g = signedLog("factors.queryFactor", factors.queryFactor);
  const h = signedLog("factors.keyFactor", factors.keyFactor);

  const times = (factor: SignedLog, x: Float64Array, features: Float64Array): Float64Array => {
    const numbers = perRow(x, dim, (row) => factor.sign(row) * Math.exp(factor.log(row)));
    return features.map((value, i) => value * numbers[Math.floor(i / count)]!);
  };
  /** Adds the log of the factor to the scale of each row, and its sign to the features. */
  const join = (factor: SignedLog, x: Float64Array, { features, logScale }: StabilizedFeatures): StabilizedFeatures => {
    const signs = perRow(x, dim, factor.sign);
    const logs = perRow(x, dim, factor.log);
    return {
      features: features.map((value, i) =>
        signs[Math.floor(i / count)] === 0 ? 0 : value * signs[Math.floor(i / count)]!,
      ),
      logScale: logs.map((log, row) => log + logScale[row]!),
    };
  };
  /** phi = s exp(l) phi_0: dx = s exp(l) phi_0'(x) upstream + (sum of upstream phi) dl/dx. */
  const backward = (
    factor: SignedLog,
    base: FeatureMap["queryBackward"],
    stabilized: (x: Float64Array) => StabilizedFeatures,
    x: Float64Array,
    upstream: Float64Array,
    logScale: Float64Array | undefined,
  ): Float64Array => {
    const rows = rowCount("x", x, dim);
    requireLength("upstream", upstream, rows * count);
    const { features, logScale: logs } = join(factor, x, stabilized(x));
    const signs = perRow(x, dim, factor.sign);
    const relative = perRow(x, dim, (row, i) => scaleOfRow(logScale, i, rows) - factor.log(row));
    const out = base(
      x,
      upstream.map((value, i) => value * signs[Math.floor(i / count)]!),
      relative,
    );
    for (let row = 0; row < rows; row++) {
      const sum = upstream
        .subarray(row * count, (row + 1) * count)
        .reduce((total, value, m) => total + value * features[row * count + m]!, 0);
      if (sum === 0) continue;
      const slope = sum * Math.exp(logs[row]! - scaleOfRow(logScale, row, rows));
      const gradient = factor.logGradient(x.subarray(row * dim, (row + 1) * dim));
      for (let l = 0; l < dim; l++) out[row * dim + l]! += slope * gradient[l]!;
    }
    return out;
  };

  const keyRows = (x: Float64Array, mask?: KeyStabilizerOptions["mask"]): StabilizedFeatures =>
    featureMap.keyStabilized(x, { scope: "row", ...(mask && { mask }) });
  return {
    ...featureMap,
    hasRowFactors: true,
    query: (x) => times(g, x, featureMap.query(x)),
    key: (x) => times(h, x, featureMap.key(x)),
    queryStabilized: (x) => join(g, x, featureMap.queryStabilized(x)),
    keyStabilized(x, options = {}) {
      const { features, logScale } = join(h, x, keyRows(x, options.mask));
      return scaleKeys(features, logScale, count, options);
    },
    queryBackward: (x, upstream, logScale) =>
      backward(g, featureMap.queryBackward, featureMap.queryStabilized, x, upstream, logScale),
    keyBackward: (x, upstream, logScale) => backward(h, featureMap.keyBackward, keyRows, x, upstream, logScale),
  };
}

function perRow(x: Float64Array, dim: number, of: (row: Float64Array, i: number) => number): Float64Array {
  const rows = rowCount("x", x, dim);
  return Float64Array.from({ length: rows }, (_, i) => of(x.subarray(i * dim, (i + 1) * dim), i));
}

function signedLog(argument: string, given: RowFactorName | RowFactor | undefined): SignedLog {
  if (given === undefined) return named(0);
  if (typeof given === "string") {
    if (Object.hasOwn(rowFactorExponents, given)) return named(rowFactorExponents[given]);
  } else if (typeof (given as Partial<RowFactor> | null)?.value === "function") {
    requireOptions(argument, given, { value: true, gradient: true });
    return own(argument, given);
  }
  throw new ArgumentError(argument, `${Object.keys(rowFactorExponents).join(", ")}, or { value: (x) => ... }`, given);
}

function named(exponent: number): SignedLog {
  return {
    log: (x) => (exponent * x.reduce((sum, value) => sum + value * value, 0)) / 2,
    sign: () => 1,
    logGradient: (x) => x.map((value) => exponent * value),
  };
}

function own(argument: string, { value, gradient }: RowFactor): SignedLog {
  return {
    log: (x) => Math.log(Math.abs(value(x))),
    sign: (x) => Math.sign(value(x)),
    logGradient(x) {
      if (gradient === undefined)
        throw new ArgumentError(`${argument}.gradient`, "a function, for gradients", gradient);
      const at = value(x);
      return gradient(x).map((slope) => slope / at);
    },
  };
}
