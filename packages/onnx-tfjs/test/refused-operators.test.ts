import { DataType } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, it } from "vitest";
import { OnnxModel, supportedOperators, UnsupportedOperatorError } from "../src/index.ts";
import { info, model, node } from "./graphs.ts";

beforeAll(() => tf.setBackend("cpu"));

/** What other networks than Transformers use. */
const refused =
  "MaxPool AveragePool LpPool ConvTranspose DeformConv Resize Upsample LSTM GRU RNN LRN NonMaxSuppression RoiAlign";

it.each(refused.split(" "))("%s is refused by name", async (opType) => {
  expect(supportedOperators()).not.toContain(`:${opType}`);
  const loaded = await OnnxModel.load(
    model({
      inputs: [info("x", DataType.FLOAT)],
      outputs: [info("y", DataType.FLOAT)],
      nodes: [node(opType, ["x", "x", "x", "x"], ["y"])],
    }),
  );
  const run = (): unknown => loaded.run({ x: { dims: [1, 1, 2, 2], data: [1, 2, 3, 4] } });
  expect(run).toThrow(UnsupportedOperatorError);
  const advice = "runs what attention models use, listed by supportedOperators(): run this model in onnxruntime";
  expect(run).toThrow(`${opType} "${opType} of y": it does not run on tfjs. @favor/onnx-tfjs ${advice}`);
  loaded.dispose();
});
