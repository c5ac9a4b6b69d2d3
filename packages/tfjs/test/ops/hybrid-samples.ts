import { createFeatureMap, hybridAttention } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import type { ExactKeys } from "@favor/tfjs";
import type { Sample, Shape } from "./samples.ts";

export interface HybridCase {
  readonly exactKeys: ExactKeys;
  /** One for all heads or one per head; empty drops the far field. */
  readonly maps: readonly FeatureMapDescription[];
  readonly mask?: readonly number[] | undefined;
  readonly causal?: boolean | undefined;
  /** Default: the length of the shape. */
  readonly queries?: number | undefined;
}

/** Hybrid attention by @favor/core in float64, head by head. */
export function hybridReference(
  { q, k, v }: Sample,
  { batch, heads, length, dim, valueDim }: Shape,
  { exactKeys, maps, mask, causal = false, queries = length }: HybridCase,
): Float64Array {
  const out = new Float64Array(batch * heads * queries * valueDim);
  const scaled = (x: Float32Array | Float64Array, row: number, rows: number): Float64Array =>
    Float64Array.from(x.subarray(row * dim, (row + rows) * dim), (value) => value * dim ** -0.25);
  for (let b = 0; b < batch; b++) {
    const keyMask = mask?.slice(b * length, (b + 1) * length);
    for (let h = 0; h < heads; h++) {
      const group = b * heads + h;
      const description = maps[maps.length === 1 ? 0 : h];
      const value = Float64Array.from(v.subarray(group * length * valueDim, (group + 1) * length * valueDim));
      const attended = hybridAttention(scaled(q, group * queries, queries), scaled(k, group * length, length), value, {
        dim,
        valueDim,
        causal,
        ...exactKeys,
        ...(description && { featureMap: createFeatureMap(description) }),
        ...(keyMask && { keyMask }),
      });
      out.set(attended, group * queries * valueDim);
    }
  }
  return out;
}
