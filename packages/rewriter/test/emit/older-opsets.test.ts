import { RandomStream, streamPurpose } from "@favor/core";
import { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { encodeModel } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import type { ConvertOptions } from "../../src/options.ts";
import { hidden, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import { floatOutputs, openSession } from "@favor/test-support/onnxruntime";

const opsets = [9, 10, 11, 12, 13, 17];

/** One layer, causal or with a padding mask, written in an operator set's own forms. */
function layerOf(causal: boolean, opset: number): ModelProto {
  const write: Parameters<typeof layerModel>[0] = (b) =>
    b.attend((s) => {
      if (!causal) return b.softmax(b.op("Add", [s, b.paddingBias()]));
      // As torch writes arange before Range came.
      const ones = b.op("Expand", [b.scalar(1), b.dimension("x", 1)]);
      const at = b.squeeze(b.op("NonZero", [ones]), [0]);
      const future = b.op("Less", [b.unsqueeze(at, [1]), b.unsqueeze(at, [0])]);
      return b.softmax(b.op("Where", [future, b.scalar(-1e9), s]));
    });
  return layerModel(write, { opset });
}

async function run(model: ModelProto, length: number): Promise<Float32Array> {
  const random = new RandomStream({ seed: 3, purpose: streamPurpose.sampling });
  const x = Float32Array.from({ length: 2 * length * hidden }, () => random.gaussian());
  const mask = BigInt64Array.from({ length: 2 * length }, (_, i) => BigInt(i % length < length - 3));
  const feeds = {
    x: new Tensor("float32", x, [2, length, hidden]),
    mask: new Tensor("int64", mask, [2, length]),
  };
  return (await floatOutputs(await openSession(encodeModel(model)), feeds)).get("out")!;
}

describe.each([false, true])("operator sets from 9 on, causal: %s", (causal) => {
  test.each(opsets)("exact attention again: opset %s", async (opset) => {
    expect(await reEmissionDifference(() => layerOf(causal, opset), !causal)).toBeLessThan(5e-6);
  });

  const features: readonly ConvertOptions[] = [
    {},
    { features: "relu" },
    { features: "elu" },
    { features: "exp" },
    { features: "trigonometric" },
    { features: "oprf" },
  ];
  test.each(features)("the same outputs at every opset: %j", async (options) => {
    // More than one chunk of the prefix sum, the last of them not whole; and less than one.
    for (const length of [5, 150]) {
      const outputs = await Promise.all(
        opsets.map((opset) => run(convertAttention(layerOf(causal, opset), { count: 16, ...options }).model, length)),
      );
      const newest = outputs.at(-1)!;
      expect(newest.every(Number.isFinite)).toBe(true);
      for (const [i, output] of outputs.entries()) {
        const apart = Math.max(...output.map((value, at) => Math.abs(value - newest[at]!)));
        expect(apart, `opset ${opsets[i]}`).toBeLessThan(1e-5);
      }
    }
  });
});

test("below opset 9 the model is refused", () => {
  expect(() => convertAttention(layerOf(false, 8))).toThrow(/opset 8.*opset 9 or later/);
});
