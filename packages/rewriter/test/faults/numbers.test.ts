import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto, type TensorProto } from "@favor/onnx";
import { makeTensor, tensorValues } from "@favor/onnx";
import { layerModel } from "@favor/test-support/layer";
import { attentionModel, openAttention, runAttention } from "../emit/attention-model.ts";
import { randomInputs, referenceAttention } from "../emit/reference.ts";

const layer = (): ModelProto => layerModel((b) => b.attend((s) => b.softmax(s)));

/** The names of the weights and biases of query, key and value, in the order of the graph. */
const projections = (model: ModelProto): TensorProto[] =>
  model.graph.initializer.filter(({ name }) => name.includes("weight"));

function damaged(at: number, value: number): { model: ModelProto; name: string } {
  const model = layer();
  const tensor = projections(model)[at]!;
  const { data, dims } = tensorValues(tensor);
  const values = Float32Array.from(data as Float32Array);
  values[values.length - 1] = value;
  const changed = makeTensor(tensor.name, dims, DataType.FLOAT, values);
  model.graph.initializer[model.graph.initializer.indexOf(tensor)] = changed;
  return { model, name: tensor.name };
}

describe("fault 61: weights that are no numbers", () => {
  test.each([0, 1, 2, 3, 4, 5])("tensor %s of the projections is named", (at) => {
    for (const value of [NaN, Infinity, -Infinity]) {
      const { model, name } = damaged(at, value);
      expect(() => convertAttention(model, { count: 16 })).toThrow(
        expect.objectContaining({ code: "non-finite-weights", details: { tensor: name, site: 0, layer: 0 } }),
      );
    }
  });

  test("the largest number is one", () => {
    expect(convertAttention(damaged(0, 3.4e38).model, { count: 16 }).sites[0]!.state).toBe("linear");
  });

  test("the model is as it was after the refusal", () => {
    const { model } = damaged(0, NaN);
    const before = encodeModel(model);
    expect(() => convertAttention(model)).toThrow("NaN");
    expect(encodeModel(model)).toEqual(before);
  });
});

describe("faults 64 and 65: heads of any dimension, any number of features", () => {
  const shapes = [1, 3, 7, 256].flatMap((dim) => [1, 2, 5, 33].map((count): [number, number] => [dim, count]));
  test.each(shapes)("dimension %s, %s features", async (dim, count) => {
    const form = { heads: 2, dim };
    const inputs = randomInputs(form, 2, 9, dim ** -0.25);
    const { model, sites } = convertAttention(attentionModel(form), { count, cross: true });
    const found = await runAttention(await openAttention(model), form, inputs);
    const expected = referenceAttention(form, inputs, sites[0]!.featureMaps!);
    expect(sites[0]!.featureMaps!.map((map) => ("count" in map ? map.count : count))).toEqual([count, count]);
    found.forEach((value, i) =>
      expect(Math.abs(value - expected[i]!)).toBeLessThan(1e-4 * (1 + Math.abs(expected[i]!))),
    );
  });
});

test("fault 63: sequences of length 0 and 1", async () => {
  for (const causal of [false, true]) {
    const form = { heads: 2, dim: 4, causal };
    const { model } = convertAttention(attentionModel(form), { count: 8, cross: true });
    const session = await openAttention(model);
    expect(await runAttention(session, form, randomInputs(form, 2, 0))).toHaveLength(0);
    const inputs = randomInputs(form, 2, 1);
    const one = await runAttention(session, form, inputs);
    one.forEach((value, i) => expect(value).toBeCloseTo(inputs.value[i]!, 4));
  }
});

describe("fault 70: the same seed is the same model", () => {
  test.each(["orthogonal", "iid", "hadamard", "givens"] as const)("%s, to the byte", (projection) => {
    const bytes = (seed: number): Uint8Array =>
      encodeModel(convertAttention(layer(), { count: 24, projection, seed }).model);
    expect(bytes(11)).toEqual(bytes(11));
    expect(bytes(12)).not.toEqual(bytes(11));
  });
});

test("fault 71: keys that lie transposed give the same", async () => {
  const form = { heads: 2, dim: 6 };
  const inputs = randomInputs(form, 2, 7);
  const direct = attentionModel(form);
  const swapped = attentionModel(form);
  const transpose = swapped.graph.node.find(({ opType }) => opType === "Transpose")!;
  const key = swapped.graph.input.find(({ name }) => name === "key")!.type!.tensorType!.shape!;
  // [batch, heads, dim, length], as a product of columns gives them.
  key.dim = [key.dim[0]!, key.dim[1]!, key.dim[3]!, key.dim[2]!];
  transpose.opType = "Identity";
  transpose.attribute = [];
  const outputs = await Promise.all(
    [direct, swapped].map(async (model, i) => {
      const session = await openAttention(convertAttention(model, { count: 16, cross: true }).model);
      if (i === 0) return runAttention(session, form, inputs);
      const { Tensor } = await import("onnxruntime-node");
      const rows = (values: Float32Array) => new Tensor("float32", values, [2, 2, 7, 6]);
      const columns = Float32Array.from(inputs.key, (_, at) => {
        const [group, d, l] = [Math.floor(at / 42), Math.floor((at % 42) / 7), at % 7];
        return inputs.key[group * 42 + l * 6 + d]!;
      });
      const { out } = await session.run({
        query: rows(inputs.query),
        key: new Tensor("float32", columns, [2, 2, 6, 7]),
        value: rows(inputs.value),
      });
      return out!.data as Float32Array;
    }),
  );
  outputs[0]!.forEach((value, i) => expect(outputs[1]![i]).toBeCloseTo(value, 5));
});
