import {
  causalLinearAttention,
  createFeatureMap,
  favorAlibiAttention,
  favorAttention,
  RandomStream,
  streamPurpose,
  type FeatureMapDescription,
} from "@favor/core";
import type { AttentionInputs, AttentionModel } from "./attention-model.ts";

/** Independent standard normal numbers times `scale`. */
export function gaussians(count: number, seed: number, scale: number = 1): Float32Array {
  const random = new RandomStream({ seed, purpose: streamPurpose.sampling });
  return Float32Array.from({ length: count }, () => scale * random.gaussian());
}

/** Queries, keys and values of standard deviation `scale`, 1 and 1. */
export function randomInputs(
  { heads, dim, valueDim = dim }: AttentionModel,
  batch: number,
  length: number,
  scale: number = 1,
): AttentionInputs {
  const rows = batch * heads * length;
  return {
    batch,
    length,
    query: gaussians(rows * dim, 1, scale),
    key: gaussians(rows * dim, 2),
    value: gaussians(rows * valueDim, 3),
  };
}

/** What `@favor/core` computes in float64 for the inputs of an attention model, a feature map for every head. */
export function referenceAttention(
  { heads, dim, valueDim = dim, causal = false, slopes }: AttentionModel,
  { batch, length, query, key, value, mask }: AttentionInputs,
  descriptions: readonly FeatureMapDescription[],
): Float64Array {
  const out = new Float64Array(batch * heads * length * valueDim);
  const part = (values: Float32Array, at: number, width: number, scale: number): Float64Array =>
    Float64Array.from(values.subarray(at * length * width, (at + 1) * length * width), (x) => x * scale);
  for (let at = 0; at < batch * heads; at++) {
    const featureMap = createFeatureMap(descriptions[at % heads]!);
    const keyMask = mask?.subarray(Math.floor(at / heads) * length, (Math.floor(at / heads) + 1) * length);
    const masked = keyMask && { mask: keyMask };
    const [q, k] = [part(query, at, dim, dim ** -0.25), part(key, at, dim, dim ** -0.25)];
    const v = part(value, at, valueDim, 1);
    const slope = slopes?.[at % heads];
    if (slope !== undefined) {
      const options = { featureMap, valueDim, slope, causal, ...(keyMask && { keyMask }) };
      out.set(favorAlibiAttention(q, k, v, options), at * v.length);
      continue;
    }
    if (!causal) {
      out.set(favorAttention(q, k, v, { featureMap, valueDim, ...(keyMask && { keyMask }) }), at * v.length);
      continue;
    }
    const keys = featureMap.keyStabilized(k, { scope: "row", ...masked });
    const input = {
      query: featureMap.queryStabilized(q).features,
      key: keys.features,
      keyLogScale: keys.logScale,
      value: v,
      ...(keyMask && { keyMask }),
    };
    const { count } = featureMap;
    out.set(
      causalLinearAttention(input, { heads: 1, queryRows: length, keyRows: length, count, valueDim }),
      at * v.length,
    );
  }
  return out;
}
