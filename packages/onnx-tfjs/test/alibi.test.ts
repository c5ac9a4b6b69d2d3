import { DataType, encodeModel, type ModelProto } from "@favor/onnx";
import { convertAttention } from "@favor/rewriter";
import { onEveryBackend } from "@favor/test-support/backends";
import { heads, hidden, hiddenStates, layerModel, paddingMask, type Layer } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { repairBackend } from "@favor/tfjs";
import { Tensor } from "onnxruntime-node";
import { beforeAll, expect, test } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { uniform } from "./gradients/check.ts";

/** -m |i - j|, [heads, length, length]. */
const bias = (b: Layer): string => {
  const distance = b.cast(b.op("Abs", [b.distances()]), DataType.FLOAT);
  return b.op("Mul", [distance, b.floats("slopes", [heads, 1, 1], [-0.25, -0.015625])]);
};

/** Attention with padding and ALiBi. */
function alibiModel(causal: boolean): ModelProto {
  const hidesLater = (b: Layer, logits: string): string =>
    causal ? b.masked(b.op("LessOrEqual", [b.distances(), b.integer(0)]), logits) : logits;
  return layerModel(
    (b) => b.attend((s) => b.softmax(b.op("Add", [hidesLater(b, b.op("Add", [s, bias(b)])), b.paddingBias()]))),
    { inputs: [hiddenStates, paddingMask] },
  );
}

onEveryBackend("linear attention with ALiBi gives what onnxruntime gives", () => {
  beforeAll(() => repairBackend());

  test.each([true, false])("over three chunks, causal: %s", async (causal) => {
    const { model: proto } = convertAttention(alibiModel(causal), { count: 16 });
    const length = 150;
    const next = uniform(5);
    const x = Float32Array.from({ length: 2 * length * hidden }, () => 4 * next() - 2);
    const mask = Int32Array.from({ length: 2 * length }, (_, i) => Number(i < 1.7 * length));
    const session = await openSession(encodeModel(proto));
    const expected = await session.run({
      x: new Tensor("float32", x, [2, length, hidden]),
      mask: new Tensor("int64", BigInt64Array.from(mask, BigInt), [2, length]),
    });
    const model = await OnnxModel.load(proto);
    const found = model.run({
      x: { dims: [2, length, hidden], data: x },
      mask: { dims: [2, length], dataType: DataType.INT64, data: mask },
    });
    const values = found["out"]!.dataSync();
    const worst = (expected["out"]!.data as Float32Array).reduce(
      (most, value, i) => Math.max(most, Math.abs(value - values[i]!)),
      0,
    );
    expect(worst).toBeLessThan(1e-5);
    found["out"]!.dispose();
    model.dispose();
  });
});
