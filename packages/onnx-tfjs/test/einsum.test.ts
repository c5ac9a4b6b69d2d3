import { DataType } from "@favor/onnx";
import { evaluateNode, tensorOf } from "@favor/onnx/evaluate";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, it } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { info, model, node, noise } from "./graphs.ts";

/** Equations and the shapes of their operands. */
const cases: readonly (readonly [string, readonly (readonly number[])[]])[] = [
  [
    "bhid,bhjd->bhij",
    [
      [2, 2, 3, 4],
      [2, 2, 5, 4],
    ],
  ],
  [
    "bij , bjk",
    [
      [2, 3, 4],
      [2, 4, 5],
    ],
  ],
  [
    "...id,...jd->...ij",
    [
      [2, 1, 3, 4],
      [3, 5, 4],
    ],
  ],
  ["b...d,d->b...", [[2, 3, 1, 4], [4]]],
  [
    "ij,kj->ki",
    [
      [3, 4],
      [2, 4],
    ],
  ],
  ["i,j->ij", [[3], [4]]],
  ["i,i->", [[3], [3]]],
  ["ii->i", [[4, 4]]],
  ["ii", [[4, 4]]],
  ["iji->j", [[3, 2, 3]]],
  ["ijk->ki", [[2, 3, 4]]],
  [
    "bi,ij,bj->b",
    [
      [2, 3],
      [3, 4],
      [2, 4],
    ],
  ],
  [
    "abc,cd,db->ad",
    [
      [2, 3, 4],
      [4, 5],
      [5, 3],
    ],
  ],
  [
    "bid,bjd->bij",
    [
      [1, 3, 4],
      [2, 2, 4],
    ],
  ],
  [
    "ab,ab->ab",
    [
      [1, 3],
      [1, 1],
    ],
  ],
  ["abcdefgh,h->gabcdef", [[1, 2, 1, 2, 1, 2, 2, 3], [3]]],
];

function einsum(equation: string, operands: number) {
  const names = Array.from({ length: operands }, (_, i) => `x${i}`);
  return model({
    inputs: names.map((name) => info(name, DataType.FLOAT)),
    outputs: [info("y", DataType.FLOAT)],
    nodes: [node("Einsum", names, ["y"], { equation })],
  });
}

onEveryBackend("Einsum", () => {
  beforeAll(() => {
    repairBackend();
  });

  it.each(cases)("%s is what the evaluator gives, and so is its gradient", async (equation, shapes) => {
    const proto = einsum(equation, shapes.length);
    const onnx = await OnnxModel.load(proto);
    const values = shapes.map((dims, i) => noise(tf.util.sizeFromShape([...dims]), i + 1));
    const evaluated = (operands: readonly ArrayLike<number>[]) =>
      evaluateNode(
        proto.graph.node[0]!,
        shapes.map((dims, i) => tensorOf(DataType.DOUBLE, dims, operands[i]!)),
        { opsets: new Map([["", 17]]) },
      )[0]!;
    const exact = evaluated(values);
    const tensors = values.map((data, i) => tf.tensor(data.slice(), [...shapes[i]!]));
    const run = (...operands: tf.Tensor[]): tf.Tensor =>
      onnx.run(Object.fromEntries(operands.map((operand, i) => [`x${i}`, operand])))["y"]!;
    const weights = noise(exact.data.length, 99);
    const { value, grads } = tf.valueAndGrads((...operands) =>
      tf.sum(tf.mul(tf.reshape(run(...operands), [-1]), tf.tensor1d(weights.slice()))),
    )(tensors);
    const y = run(...tensors);
    expect(y.shape).toEqual(exact.dims);
    for (const [i, found] of y.dataSync().entries()) expect(found).toBeCloseTo(exact.data[i]!, 5);
    const loss = (operands: readonly ArrayLike<number>[]): number => {
      const { data } = evaluated(operands);
      return weights.reduce((sum, weight, i) => sum + weight * data[i]!, 0);
    };
    expect(value.dataSync()[0]).toBeCloseTo(loss(values), 4);
    // Linear in each operand: any step gives the exact derivative.
    for (const i of values.keys()) {
      for (const [j, found] of grads[i]!.dataSync().entries()) {
        const moved = values.map((data, k) =>
          k === i ? Float64Array.from(data, (x, l) => x + Number(l === j)) : data,
        );
        expect(found).toBeCloseTo(loss(moved) - loss(values), 4);
      }
    }
    tf.dispose([tensors, y, value, grads]);
    onnx.dispose();
  });

  it.each([
    [
      "ij,jk->il",
      [
        [2, 3],
        [3, 4],
      ],
      /output label l is in no operand/,
    ],
    [
      "ij,jk->ik",
      [
        [2, 3],
        [4, 4],
      ],
      /label j has the sizes 3 and 4/,
    ],
    [
      "ij->i",
      [
        [2, 3],
        [3, 4],
      ],
      /has 1 terms/,
    ],
    [
      "i-j,jk->k",
      [
        [2, 3],
        [3, 4],
      ],
      /malformed/,
    ],
  ] as const)("refuses %s", async (equation, shapes, message) => {
    const onnx = await OnnxModel.load(einsum(equation, shapes.length));
    const feeds = Object.fromEntries(shapes.map((dims, i) => [`x${i}`, { dims, data: noise(dims[0] * dims[1]) }]));
    expect(() => onnx.run(feeds)).toThrow(message);
    onnx.dispose();
  });
});
