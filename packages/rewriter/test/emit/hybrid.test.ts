import { createFeatureMap, hybridAttention, type FeatureMapDescription } from "@favor/core";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import type { ExactKeys } from "../../src/options.ts";
import {
  attentionModel,
  openAttention,
  runAttention,
  type AttentionInputs,
  type AttentionModel,
} from "./attention-model.ts";
import { randomInputs } from "./reference.ts";

const shape: AttentionModel = { heads: 2, dim: 32, valueDim: 24, self: true };
const lengths = [1, 2, 15, 16, 17, 63, 64, 65, 200];

/** What @favor/core computes in float64, head by head. */
function referenceHybrid(
  { heads, dim, valueDim = dim, causal = false, self = false }: AttentionModel,
  { batch, length, query, key, value, mask }: AttentionInputs,
  descriptions: readonly FeatureMapDescription[],
  { window, chosenBlocks = 0 }: ExactKeys,
): Float64Array {
  const out = new Float64Array(batch * heads * length * valueDim);
  const part = (values: Float32Array, at: number, width: number, scale: number): Float64Array =>
    Float64Array.from(values.subarray(at * length * width, (at + 1) * length * width), (x) => x * scale);
  for (let at = 0; at < batch * heads; at++) {
    const description = descriptions[at % heads];
    const keyMask = mask?.subarray(Math.floor(at / heads) * length, (Math.floor(at / heads) + 1) * length);
    const [q, k] = [part(query, at, dim, dim ** -0.25), part(key, at, dim, dim ** -0.25)];
    const head = hybridAttention(q, k, part(value, at, valueDim, 1), {
      dim,
      valueDim,
      window,
      near: self,
      chosenBlocks,
      causal,
      ...(description && { featureMap: createFeatureMap(description) }),
      ...(keyMask && { keyMask }),
    });
    out.set(head, at * length * valueDim);
  }
  return out;
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const apart = Math.abs(a[i]! - b[i]!);
    if (!(apart <= most)) most = apart;
  }
  return most;
};

/** Real keys at the beginning of the first row, at the end of the second, none in the third. */
function paddingOf(batch: number, length: number): Float32Array {
  const shown = Math.ceil(length * 0.7);
  return Float32Array.from({ length: batch * length }, (_, i) => {
    const [row, at] = [Math.floor(i / length), i % length];
    return Number(row === 0 ? at < shown : row === 1 && at >= length - shown);
  });
}

describe.each<[string, ExactKeys]>([
  ["near field", { window: 16 }],
  ["near field of 64", { window: 64 }],
  ["near field and 3 blocks", { window: 16, chosenBlocks: 3 }],
  ["near field of 32 and 4 blocks", { window: 32, chosenBlocks: 4 }],
])("%s", (_, exactKeys) => {
  test.each([
    ["", shape],
    [", padding", { ...shape, padding: true }],
    [", head size 64", { ...shape, dim: 64, valueDim: 64 }],
  ] as [string, AttentionModel][])("equals the float64 definition at any length%s", async (__, model) => {
    const { model: converted, sites } = convertAttention(attentionModel(model), { cross: true, count: 32, exactKeys });
    expect(sites[0]!.exactKeys).toEqual({ chosenBlocks: 0, group: 16, ...exactKeys });
    const session = await openAttention(converted);
    for (const length of lengths) {
      const batch = model.padding ? 3 : 1;
      const inputs = {
        ...randomInputs(model, batch, length),
        ...(model.padding && { mask: paddingOf(batch, length) }),
      };
      const out = await runAttention(session, model, inputs);
      const expected = referenceHybrid(model, inputs, sites[0]!.featureMaps!, exactKeys);
      expect(largestDifference(out, expected), `length ${length}`).toBeLessThan(2e-5);
    }
  });
});
