import { rowCount } from "../checks.ts";
import type { FeatureMapDescription } from "./description.ts";
import type { FeatureMap, StabilizedFeatures } from "./feature-map.ts";
import { scaleKeys } from "./stabilizer.ts";

/** A map that is the same for queries and keys and needs no stabiliser: its log scale is 0. */
export function directFeatureMap(
  description: FeatureMapDescription,
  dim: number,
  count: number,
  features: (x: Float64Array, rows: number) => Float64Array,
): FeatureMap {
  const apply = (x: Float64Array): Float64Array => features(x, rowCount("x", x, dim));
  return {
    description,
    dim,
    count,
    query: apply,
    key: apply,
    queryStabilized: (x): StabilizedFeatures => ({ features: apply(x), logScale: new Float64Array(x.length / dim) }),
    keyStabilized: (x, options = {}) => scaleKeys(apply(x), new Float64Array(x.length / dim), count, options),
  };
}
