import { RandomStream, streamPurpose } from "@favor/core";
import { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto } from "@favor/onnx";
import { makeTensor } from "@favor/onnx";
import { dim, heads, hiddenStates, layerModel, reEmissionDifference, type Layer } from "@favor/test-support/layer";
import { floatOutputs, openSession } from "@favor/test-support/onnxruntime";

/** Different for each head, and positive. */
const temperatures = [0.3, 2.5];
const column = (b: Layer): string => b.floats("temperature", [heads, 1, 1], temperatures);
/** softmax over rows, with the padding mask. */
const masked = (b: Layer, logits: string): string => b.softmax(b.op("Add", [logits, b.paddingBias()]));

const cases: readonly { readonly name: string; readonly write: (b: Layer) => string }[] = [
  {
    name: "an initializer [heads, 1, 1]",
    write: (b) => b.attend((s) => masked(b, b.op("Mul", [s, column(b)]))),
  },
  {
    name: "an initializer that the logits are divided by, [1, heads, 1, 1]",
    write: (b) => b.attend((s) => masked(b, b.op("Div", [s, b.floats("temperature", [1, heads, 1, 1], temperatures)]))),
  },
  {
    name: "exp of a clipped scale, before the usual one",
    write: (b) => {
      const [query, key, value] = [b.project("x"), b.project("x"), b.project("x")];
      const learned = b.op("Exp", [b.op("Min", [column(b), b.scalar(4.6)])]);
      const logits = b.op("Mul", [b.op("MatMul", [query, b.transpose(key, [0, 1, 3, 2])]), learned]);
      return b.merge(b.op("MatMul", [masked(b, b.op("Mul", [logits, b.scalar(0.2)])), value]));
    },
  },
  {
    name: "halves that ConstantOfShape makes, as long as the heads",
    write: (b) =>
      b.attend((s) => {
        const half = makeTensor("", [1], DataType.FLOAT, Float32Array.of(0.5));
        const halves = b.op("ConstantOfShape", [b.integers([heads, 1, 1])], { value: half });
        return masked(b, b.op("Mul", [b.op("Mul", [s, halves]), column(b)]));
      }),
  },
  {
    name: "an Einsum with the heads third",
    write: (b) => {
      const rows = (): string => b.reshape(b.linear("x"), [0, 0, heads, dim]);
      const [query, key, value] = [rows(), rows(), rows()];
      const logits = b.op("Einsum", [query, key], { equation: { string: "bihd,bjhd->bhij" } });
      const scaled = b.op("Mul", [b.op("Mul", [logits, column(b)]), b.scalar(0.35)]);
      const made = b.op("Einsum", [masked(b, scaled), value], { equation: { string: "bhij,bjhd->bihd" } });
      return b.reshape(made, [0, 0, -1]);
    },
  },
];

describe("a temperature for each head", () => {
  test.each(cases)("$name", async ({ write }) => {
    const make = (): ModelProto => layerModel(write);
    const { sites } = inspectAttention(make());
    expect(sites.map(({ reasons, heads: count, mask }) => [reasons, count, mask.kind])).toEqual([
      [[], heads, "padding"],
    ]);
    expect(await reEmissionDifference(make, true)).toBeLessThan(5e-6);
  });

  test("features are those of queries that were multiplied by it", async () => {
    const onLogits = attention((b) => ({ query: b.project("x"), scale: (s) => b.op("Mul", [s, column(b)]) }));
    const onQueries = attention((b) => ({ query: b.op("Mul", [b.project("x"), column(b)]), scale: (s) => s }));
    const [a, b] = [await run(onLogits), await run(onQueries)];
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-6);
  });

  test("a factor made of the logits is none: the attention is refused", () => {
    const model = layerModel((b) =>
      b.attend((s) => {
        const largest = b.reduceMax(b.reduceMax(b.op("Abs", [s]), 3), 2);
        return masked(b, b.op("Div", [s, largest]));
      }),
    );
    expect(inspectAttention(model).sites.map(({ verdict }) => verdict)).toEqual(["refuse"]);
  });
});

function attention(write: (b: Layer) => { query: string; scale: (s: string) => string }): ModelProto {
  return layerModel(
    (b) => {
      const { query, scale } = write(b);
      const [key, value] = [b.project("x"), b.project("x")];
      return b.merge(b.op("MatMul", [b.softmax(scale(b.logits(query, key))), value]));
    },
    { inputs: [hiddenStates] },
  );
}

async function run(model: ModelProto): Promise<Float32Array> {
  const session = await openSession(encodeModel(convertAttention(model, { count: 16 }).model));
  const random = new RandomStream({ seed: 3, purpose: streamPurpose.sampling });
  const x = Float32Array.from({ length: 2 * 11 * heads * dim }, () => random.gaussian());
  return (await floatOutputs(session, { x: new Tensor("float32", x, [2, 11, heads * dim]) })).get("out")!;
}
