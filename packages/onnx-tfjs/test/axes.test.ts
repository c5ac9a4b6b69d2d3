import { DataType } from "@favor/onnx";
import { evaluateNode, tensorOf } from "@favor/onnx/evaluate";
import { expect, it } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { info, model, node, noise } from "./graphs.ts";

onEveryBackend("More axes than kernels have", () => {
  it.each([
    [
      "Add",
      [
        [2, 1, 2, 3, 1, 2, 1, 2],
        [3, 1, 1, 3, 2],
      ],
      {},
    ],
    [
      "Mul",
      [
        [1, 2, 1, 2, 2, 1, 2, 2],
        [2, 1, 1, 2, 2, 2, 1, 2],
      ],
      {},
    ],
    [
      "Sub",
      [
        [2, 2, 2, 2, 2, 2, 2],
        [2, 2, 2, 2, 2, 2, 2],
      ],
      {},
    ],
    [
      "Max",
      [
        [2, 2, 2, 1, 2, 2, 2],
        [2, 2, 2, 2, 2, 2, 2],
      ],
      {},
    ],
    ["Transpose", [[2, 3, 2, 2, 1, 2, 2, 2]], { perm: [7, 6, 0, 1, 4, 2, 3, 5] }],
  ] as const)("%s", async (op, shapes, attributes) => {
    const names = shapes.map((_, i) => `x${i}`);
    const only = node(op, names, ["y"], attributes);
    const proto = model({
      inputs: names.map((name) => info(name, DataType.FLOAT)),
      outputs: [info("y", DataType.FLOAT)],
      nodes: [only],
    });
    const operands = shapes.map((dims, i) =>
      tensorOf(
        DataType.FLOAT,
        dims,
        noise(
          dims.reduce<number>((product, dim) => product * dim, 1),
          i + 1,
        ),
      ),
    );
    const [exact] = evaluateNode(only, operands, { opsets: new Map([["", 17]]) });
    const onnx = await OnnxModel.load(proto);
    const { y } = onnx.run(Object.fromEntries(operands.map((operand, i) => [`x${i}`, operand])));
    expect(y!.shape).toEqual(exact!.dims);
    for (const [i, found] of y!.dataSync().entries()) expect(found).toBeCloseTo(exact!.data[i]!, 6);
    y!.dispose();
    onnx.dispose();
  });
});
