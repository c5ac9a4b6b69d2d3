import { requireLength } from "../checks.ts";
import type { FeatureMap, StabilizedFeatures } from "./feature-map.ts";
import { rowFactorExponents } from "./row-factor-name.ts";
import type { RowFactorName } from "./row-factor-name.ts";
import { scaleKeys, scaleOfRow } from "./stabilizer.ts";

/** A factor of a row x `[dim]`, sign(x) exp(log(x)): it may exceed the range of numbers. */
export interface LogFactor {
  readonly log: (x: Float64Array) => number;
  readonly sign: (x: Float64Array) => number;
  readonly logGradient: (x: Float64Array) => Float64Array;
}

/** The factor of a name; 1 without one. */
export function namedFactor(name: RowFactorName | undefined): LogFactor {
  const exponent = name === undefined ? 0 : rowFactorExponents[name];
  return {
    log: (x) => (exponent * x.reduce((sum, value) => sum + value * value, 0)) / 2,
    sign: () => 1,
    logGradient: (x) => x.map((value) => exponent * value),
  };
}

/**
 * The feature map with phi_q multiplied by g and phi_k by h. Their logs join the log scale of stabilised features, so
 * that neither over- nor underflows.
 */
export function multiplyFeatures(featureMap: FeatureMap, g: LogFactor, h: LogFactor): FeatureMap {
  const { dim, count } = featureMap;
  const query = joined(g, dim, count, (x) => featureMap.queryStabilized(x));
  const key = joined(h, dim, count, (x) => featureMap.keyStabilized(x, { scope: "row" }));
  return {
    ...featureMap,
    hasRowFactors: true,
    logs: undefined,
    query: (x) => unscaled(query(x), count),
    key: (x) => unscaled(key(x), count),
    queryStabilized: query,
    keyStabilized(x, options = {}) {
      const { features, logScale } = key(x);
      return scaleKeys(features, logScale, count, options);
    },
    queryBackward: (x, upstream, logScale) => backward(g, featureMap.queryBackward, query, x, upstream, logScale),
    keyBackward: (x, upstream, logScale) => backward(h, featureMap.keyBackward, key, x, upstream, logScale),
  };
}

function row(x: Float64Array, i: number, width: number): Float64Array {
  return x.subarray(i * width, (i + 1) * width);
}

/** Adds the log of a factor to the scale of each row, and multiplies the features by its sign. */
function joined(
  { log, sign }: LogFactor,
  dim: number,
  count: number,
  stabilized: (x: Float64Array) => StabilizedFeatures,
): (x: Float64Array) => StabilizedFeatures {
  return (x) => {
    const { features, logScale } = stabilized(x);
    const signs = logScale.map((_, i) => sign(row(x, i, dim)));
    return {
      features: features.map((value, i) => value * signs[Math.floor(i / count)]!),
      logScale: logScale.map((scale, i) => scale + log(row(x, i, dim))),
    };
  };
}

function unscaled({ features, logScale }: StabilizedFeatures, count: number): Float64Array {
  return features.map((value, i) => (value === 0 ? 0 : value * Math.exp(logScale[Math.floor(i / count)]!)));
}

/** phi = s exp(l) phi_0: dx = s exp(l) phi_0'(x) upstream + (sum of upstream phi) dl/dx. */
function backward(
  { log, sign, logGradient }: LogFactor,
  withoutFactor: FeatureMap["queryBackward"],
  stabilized: (x: Float64Array) => StabilizedFeatures,
  x: Float64Array,
  upstream: Float64Array,
  logScale: Float64Array | undefined,
): Float64Array {
  const { features, logScale: logs } = stabilized(x);
  requireLength("upstream", upstream, features.length);
  const rows = logs.length;
  const count = features.length / rows;
  const dim = x.length / rows;
  const relative = logs.map((_, i) => scaleOfRow(logScale, i, rows) - log(row(x, i, dim)));
  const signed = upstream.map((value, i) => value * sign(row(x, Math.floor(i / count), dim)));
  const out = withoutFactor(x, signed, relative);
  for (let i = 0; i < rows; i++) {
    const phi = row(features, i, count);
    const sum = row(upstream, i, count).reduce((total, value, m) => total + value * phi[m]!, 0);
    if (sum === 0) continue;
    const slope = sum * Math.exp(logs[i]! - scaleOfRow(logScale, i, rows));
    const gradient = logGradient(row(x, i, dim));
    for (let l = 0; l < dim; l++) out[i * dim + l]! += slope * gradient[l]!;
  }
  return out;
}
