import { describe, expect, test } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { makeNode } from "../../src/graph/node.ts";
import { evaluateNode } from "../../src/evaluate/graph.ts";
import { Tensor } from "onnxruntime-node";
import { layerModel } from "@favor/test-support/layer";
import { encodeModel } from "../../src/model/encode.ts";
import { openSession } from "@favor/test-support/onnxruntime";
import { float32, list } from "@favor/test-support/nodes";

const dims = [1, 2, 3, 5];
const image = Float32Array.from({ length: 30 }, (_, i) => Math.sin(7 * i));

/** Resize by onnxruntime and by the evaluator. */
async function both(sizes: number[], attributes: Record<string, string>): Promise<[number[], number[]]> {
  const named = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, { string: value }]));
  const write = (b: Parameters<Parameters<typeof layerModel>[0]>[0]) =>
    b.op("Resize", ["image", "", "", b.integers(sizes)], named);
  const inputs = [{ name: "image", dataType: DataType.FLOAT, dims }];
  const session = await openSession(encodeModel(layerModel(write, { inputs })));
  const { out } = await session.run({ image: new Tensor("float32", image, dims) });
  const node = makeNode("Resize", ["image", "", "", "sizes"], ["out"], { attributes: named });
  const opsets = new Map([["", 17]]);
  const [own] = evaluateNode(node, [float32(dims, [...image]), null, null, list(...sizes)], { opsets });
  expect(own!.dims).toEqual(out!.dims);
  return [Array.from(out!.data as Float32Array), Array.from(own!.data)];
}

describe("Resize agrees with onnxruntime", () => {
  const modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"];
  const cases = modes.flatMap((mode) => [
    { mode: "linear", coordinate_transformation_mode: mode },
    ...["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"].map((rounding) => ({
      mode: "nearest",
      coordinate_transformation_mode: mode,
      nearest_mode: rounding,
    })),
  ]);
  test.each(cases)("$mode $coordinate_transformation_mode $nearest_mode", async (attributes) => {
    for (const sizes of [
      [1, 2, 7, 4],
      [1, 2, 1, 9],
      [1, 2, 3, 5],
    ]) {
      const [expected, found] = await both(sizes, attributes);
      expected.forEach((value, i) => expect(found[i]).toBeCloseTo(value, 5));
    }
  });
});
