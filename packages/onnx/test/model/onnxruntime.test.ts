import Long from "long";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { expect, it } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";
import { makeTensor } from "../../src/model/tensor.ts";
import type { DimensionProto, ValueInfoProto } from "../../src/model/proto.ts";
import { openModel } from "../../src/node/open-model.ts";
import { writeModel } from "../../src/node/write-model.ts";
import { folderOfEachTest } from "@favor/test-support/temporary-folder";

const inFolder = folderOfEachTest();

function matrix(name: string, rows: Partial<DimensionProto>): ValueInfoProto {
  const dim = [rows, { dimValue: Long.fromNumber(32) }].map((size) => createMessage("DimensionProto", size));
  return createMessage("ValueInfoProto", {
    name,
    type: createMessage("TypeProto", {
      tensorType: createMessage("TensorTypeProto", {
        elemType: DataType.FLOAT,
        shape: createMessage("TensorShapeProto", { dim }),
      }),
    }),
  });
}

/** y = relu(x w): `w` of 4 KiB, a permutation that reverses the columns, scaled by 2. */
const weight = Float32Array.from({ length: 1024 }, (_, index) =>
  Math.floor(index / 32) + (index % 32) === 31 ? 2 : 0,
);
const model = createMessage("ModelProto", {
  irVersion: Long.fromNumber(8),
  opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
  graph: createMessage("GraphProto", {
    name: "g",
    node: [
      createMessage("NodeProto", { opType: "MatMul", input: ["x", "w"], output: ["xw"] }),
      createMessage("NodeProto", { opType: "Relu", input: ["xw"], output: ["y"] }),
    ],
    input: [matrix("x", { dimParam: "batch" })],
    output: [matrix("y", { dimParam: "batch" })],
    initializer: [makeTensor("w", [32, 32], DataType.FLOAT, weight)],
  }),
});

it.each(["keep", "inline", { threshold: 1024 }] as const)(
  "onnxruntime runs what is written: %j",
  async (externalData) => {
    await writeModel(model, inFolder("made.onnx"), { externalData });
    // once more, from the file
    const opened = await openModel(inFolder("made.onnx"));
    await writeModel(opened.model, inFolder("model.onnx"));
    opened.close();
    const session = await InferenceSession.create(inFolder("model.onnx"));
    const x = Float32Array.from({ length: 64 }, (_, index) => index - 10);
    const { y } = await session.run({ x: new Tensor("float32", x, [2, 32]) });
    const expected = Float32Array.from(x, (_, index) => Math.max(0, 2 * x[index - (index % 32) + 31 - (index % 32)]!));
    expect(y!.dims).toEqual([2, 32]);
    expect(y!.data).toEqual(expected);
  },
);
