import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import { hiddenStates, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import type { Layer } from "@favor/test-support/layer";

/** Attention, and beside it the number of elements of a value that nothing else reads. */
const withShapeOf =
  (write: (b: Layer, length: string) => string, attributes = {}) =>
  () =>
    layerModel(
      (b) => {
        const shape = b.op("Shape", [write(b, b.dimension("x", 1))], attributes);
        const count = b.op("Mul", [b.op("ReduceProd", [b.cast(shape, DataType.FLOAT)]), b.scalar(2 ** -12)]);
        return b.op("Add", [b.attend((s) => b.softmax(s)), count]);
      },
      { inputs: [hiddenStates] },
    );

const rest = (b: Layer, length: string, by: number): string =>
  b.op("Slice", ["x", b.integers([0]), b.op("Mod", [length, b.integers([by])]), b.integers([1])]);

describe("shapes of values that nothing needs", () => {
  // The lengths that are probed leave the same rest by 4, and onnxruntime runs another one.
  test.each([2, 3, 4, 8])("the rest of a length by %i is no constant", async (by) => {
    expect(
      await reEmissionDifference(
        withShapeOf((b, length) => rest(b, length, by)),
        false,
      ),
    ).toBeLessThan(2e-6);
  });

  test.each([{}, { start: { int: -2 }, end: { int: -1 } }])(
    "a multiple of a length is written without the value: %o",
    async (attributes) => {
      const make = withShapeOf((b) => b.concat(["x", "x", "x"], 1), attributes);
      const { model } = convertAttention(make(), { features: "exact" });
      expect(model.graph.node.filter(({ input }) => input.join() === "x,x,x")).toEqual([]);
      expect(await reEmissionDifference(make, false)).toBeLessThan(2e-6);
    },
  );
});
