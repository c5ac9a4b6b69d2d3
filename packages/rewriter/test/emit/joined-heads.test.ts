import { RandomStream, streamPurpose } from "@favor/core";
import { MomentAccumulator } from "@favor/core/calibration";
import { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention, findAttention, inspectAttention } from "../../src/model-attention.ts";
import { encodeModel } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import type { ConvertOptions } from "../../src/options.ts";
import { dim, heads, hidden, hiddenStates, Layer, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import { floatOutputs, openSession } from "@favor/test-support/onnxruntime";

/** [batch, length, heads x dim] to [heads x batch, length, dim], heads slowest. */
type Join = (b: Layer, rows: string) => string;
const bySplitting: Join = (b, rows) => b.concat(b.ops("Split", [rows], heads, { axis: { int: 2 } }), 0);
const byMoving: Join = (b, rows) => {
  const moved = b.transpose(b.reshape(rows, [0, 0, heads, dim]), [2, 0, 1, 3]);
  return b.op("Reshape", [moved, b.concat([b.integers([-1]), b.dimension("x", 1), b.integers([dim])], 0)]);
};

/** The same attention, its heads joined along the batch, or with an axis of their own (no `join`). */
function attention(join: Join | undefined, masked: boolean): ModelProto {
  return layerModel(
    (b) => {
      const [q, k, v] = [b.linear("x"), b.linear("x"), b.linear("x")];
      if (join === undefined) {
        const split = (rows: string): string => b.transpose(b.reshape(rows, [0, 0, heads, dim]), [0, 2, 1, 3]);
        const s = b.logits(split(q), split(k));
        return b.merge(b.op("MatMul", [b.softmax(masked ? b.op("Add", [s, b.paddingBias()]) : s), split(v)]));
      }
      const product = b.op("MatMul", [join(b, q), b.transpose(join(b, k), [0, 2, 1])]);
      let s = b.op("Mul", [product, b.scalar(1 / Math.sqrt(dim))]);
      if (masked) s = b.op("Add", [s, b.op("Tile", [b.squeeze(b.paddingBias(), [1]), b.integers([heads, 1, 1])])]);
      const made = b.op("MatMul", [b.op("Softmax", [s], { axis: { int: -1 } }), join(b, v)]);
      return b.concat(b.ops("Split", [made], heads, { axis: { int: 0 } }), 2);
    },
    masked ? {} : { inputs: [hiddenStates] },
  );
}

const length = 11;
const batch = 3;

function feeds(masked: boolean): Record<string, Tensor> {
  const random = new RandomStream({ seed: 3, purpose: streamPurpose.sampling });
  const x = Float32Array.from({ length: batch * length * hidden }, () => random.gaussian());
  const mask = BigInt64Array.from({ length: batch * length }, (_, i) =>
    BigInt(i % length < 4 + Math.floor(i / length)),
  );
  return {
    x: new Tensor("float32", x, [batch, length, hidden]),
    ...(masked && { mask: new Tensor("int64", mask, [batch, length]) }),
  };
}

async function outputsOf(model: ModelProto, masked: boolean): Promise<Map<string, Float32Array>> {
  return floatOutputs(await openSession(encodeModel(model)), feeds(masked));
}

const largestDifference = (a: Float32Array, b: Float32Array): number =>
  a.length === b.length ? Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) : Infinity;

describe.each([
  ["split and concatenated", bySplitting],
  ["moved to the front", byMoving],
] as const)("heads joined along the batch, heads slowest: %s", (_, join) => {
  test.each([true, false])("are told apart, padding mask: %s", async (masked) => {
    const { sites } = inspectAttention(attention(join, masked));
    expect(sites.map((site) => [site.reasons, site.heads, site.headDim])).toEqual([[[], heads, dim]]);
    expect(await reEmissionDifference(() => attention(join, masked), masked)).toBeLessThan(5e-6);
  });

  test.each([
    ["positive", true, {}],
    ["positive", false, {}],
    ["elu", true, { features: "elu" }],
    ["relu", true, { features: "relu" }],
  ] as const)(
    "features are those of heads with an axis of their own: %s, padding mask: %s",
    async (_name, masked, more) => {
      const options: ConvertOptions = { count: 16, ...more };
      const [joined, apart] = await Promise.all(
        [join, undefined].map(async (how) => {
          const { model } = convertAttention(attention(how, masked), options);
          return (await outputsOf(model, masked)).get("out")!;
        }),
      );
      expect(largestDifference(joined!, apart!)).toBeLessThan(2e-6);
    },
  );

  test("calibration sees the queries, keys and statistics of each head", async () => {
    for (const tap of ["tapSamples", "tapMoments"] as const) {
      const [joined, apart] = await Promise.all(
        [join, undefined].map(async (how) => {
          const { model, taps } = findAttention(attention(how, false))[tap]();
          const [{ heads: count, ...names }] = taps as unknown as [{ heads: number; outputs?: object }];
          expect(count).toBe(heads);
          const outputs = await outputsOf(model, false);
          return Object.values(names.outputs ?? names).flatMap((name) => outputs.get(name as string) ?? []);
        }),
      );
      expect(joined!.length).toBe(apart!.length);
      expect(joined!.length).toBeGreaterThan(1);
      for (const [i, values] of joined!.entries()) expect(largestDifference(values, apart![i]!)).toBeLessThan(1e-3);
    }
  });
});

/** [batch, length, channels] to [batch, heads, length, dim], the head of a channel being its number mod heads. */
function interleaved(b: Layer, rows: string, gathered: boolean): string {
  if (!gathered) return b.transpose(b.reshape(rows, [0, 0, dim, heads]), [0, 3, 1, 2]);
  const order = Array.from({ length: hidden }, (_, at) => (at % dim) * heads + Math.floor(at / dim));
  const sorted = b.op("Gather", [rows, b.integers(order)], { axis: { int: 2 } });
  return b.transpose(b.reshape(sorted, [0, 0, heads, dim]), [0, 2, 1, 3]);
}

const interleavedAttention = (gathered: boolean): ModelProto =>
  layerModel(
    (b) => {
      const [q, k, v] = [b.linear("x"), b.linear("x"), b.linear("x")].map((rows) => interleaved(b, rows, gathered));
      return b.merge(b.op("MatMul", [b.softmax(b.logits(q!, k!)), v!]));
    },
    { inputs: [hiddenStates] },
  );

test("heads interleaved in the channels are calibrated one by one, and folded into the weights", async () => {
  expect(await reEmissionDifference(() => interleavedAttention(false), false)).toBeLessThan(5e-6);
  const random = new RandomStream({ seed: 4, purpose: streamPurpose.sampling });
  const moments = Array.from({ length: heads }, () => {
    const accumulator = new MomentAccumulator(dim);
    const scales = Float64Array.from({ length: dim }, () => 0.2 + random.uniform());
    const rows = (): Float64Array => random.gaussians(200 * dim).map((x, i) => x * scales[i % dim]! + 0.3);
    accumulator.add(rows(), rows());
    return accumulator.moments();
  });
  const outputs = await Promise.all(
    [false, true].map(async (gathered) => {
      const { model, sites } = convertAttention(interleavedAttention(gathered), { count: 16, moments: [moments] });
      expect(sites.map((site) => [site.heads, site.folded])).toEqual([[heads, { query: true, key: true }]]);
      return (await outputsOf(model, false)).get("out")!;
    }),
  );
  expect(largestDifference(outputs[0]!, outputs[1]!)).toBeLessThan(5e-6);
  const { model: plain } = convertAttention(interleavedAttention(false), { count: 16 });
  expect(largestDifference(outputs[0]!, (await outputsOf(plain, false)).get("out")!)).toBeGreaterThan(1e-3);
});
