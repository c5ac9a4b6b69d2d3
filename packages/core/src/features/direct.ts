import { requireLength, rowCount } from "../checks.ts";
import type { FeatureMapDescription } from "./description.ts";
import type { FeatureMap, StabilizedFeatures } from "./feature-map.ts";
import { scaleKeys, scaleOfRow } from "./stabilizer.ts";

/** A feature map that is the same for queries and keys and needs no stabiliser: its log scale is 0. */
export interface DirectMap {
  /** [rows, dim] to [rows, count] */
  readonly features: (x: Float64Array) => Float64Array;
  /** Given x and the gradient with respect to the features, the gradient with respect to x. */
  readonly backward: (x: Float64Array, upstream: Float64Array) => Float64Array;
}

export function directFeatureMap(
  description: FeatureMapDescription,
  dim: number,
  count: number,
  { features, backward }: DirectMap,
): FeatureMap {
  function apply(x: Float64Array): Float64Array {
    rowCount("x", x, dim);
    return features(x);
  }
  function applyBackward(x: Float64Array, upstream: Float64Array, logScale?: Float64Array): Float64Array {
    const rows = rowCount("x", x, dim);
    requireLength("upstream", upstream, rows * count);
    const scaled = upstream.map((value, i) => value * Math.exp(-scaleOfRow(logScale, Math.floor(i / count), rows)));
    return backward(x, scaled);
  }
  return {
    description,
    dim,
    count,
    query: apply,
    key: apply,
    queryStabilized: (x): StabilizedFeatures => ({ features: apply(x), logScale: new Float64Array(x.length / dim) }),
    keyStabilized: (x, options = {}) => scaleKeys(apply(x), new Float64Array(x.length / dim), count, options),
    queryBackward: applyBackward,
    keyBackward: applyBackward,
  };
}
