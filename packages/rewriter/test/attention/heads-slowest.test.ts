import { encodeModel } from "@favor/onnx";
import { hidden, hiddenStates, layerModel } from "@favor/test-support/layer";
import { openSession } from "@favor/test-support/onnxruntime";
import { Tensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { headsSlowest } from "./heads-slowest.ts";

const lone = { inputs: [hiddenStates] };

test("heads that are slowest share a feature map: what one sequence gives does not depend on its batch", async () => {
  const original = layerModel((b) => headsSlowest(b, (s) => s), lone);
  const { model } = convertAttention(original, { count: 32 });
  const session = await openSession(encodeModel(model));
  const rows = 9 * hidden;
  const x = Float32Array.from({ length: 3 * rows }, (_, i) => Math.sin(i * i));
  const run = async (part: Float32Array): Promise<Float32Array> => {
    const { out } = await session.run({ x: new Tensor("float32", part, [part.length / rows, 9, hidden]) });
    return out!.data as Float32Array;
  };
  const together = await run(x);
  for (const item of [0, 1, 2]) {
    const alone = await run(x.slice(item * rows, (item + 1) * rows));
    const difference = alone.map((value, i) => Math.abs(value - together[item * rows + i]!));
    expect(Math.max(...difference)).toBeLessThan(1e-6);
  }
});
