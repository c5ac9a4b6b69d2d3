import { expect, describe, test } from "vitest";
import { node } from "@favor/test-support/nodes";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";
import { encodeTensor, tensorOf } from "@favor/onnx/evaluate";
import { DataType, type ModelProto } from "@favor/onnx";
import { makeTensor, tensorValues } from "@favor/onnx";
import type { ConvertOptions } from "../../src/options.ts";
import {
  attentionModel,
  openAttention,
  runAttention,
  type AttentionInputs,
  type AttentionModel,
} from "./attention-model.ts";
import { randomInputs, referenceAttention } from "./reference.ts";

const half = (name: string): string => `${name}_half`;

/** The same attention computed in float16, between Casts: what converters to float16 make of a model with `keep_io_types`. */
function halfModel(options: AttentionModel): ModelProto {
  const model = attentionModel({ ...options, opset: 13 });
  const { graph } = model;
  const given = graph.input.map(({ name }) => name);
  for (const each of graph.node) {
    if (each.opType === "Cast") each.attribute = node("Cast", [], [], { to: DataType.FLOAT16 }).attribute;
    each.input = each.input.map((name) => (given.includes(name) ? half(name) : name));
    each.output = each.output.map((name) => (name === "out" ? half(name) : name));
  }
  graph.node = [
    ...given.map((name) => node("Cast", [name], [half(name)], { to: DataType.FLOAT16 })),
    ...graph.node,
    node("Cast", [half("out")], ["out"], { to: DataType.FLOAT }),
  ];
  graph.initializer = graph.initializer.map((tensor) => {
    if (tensor.dataType !== DataType.FLOAT) return tensor;
    const { data } = tensorValues(tensor);
    const dims = tensor.dims.map((dim) => dim.toNumber());
    // -1e9 is no float16; converters clip it.
    const clipped = Array.from(data as Float32Array, (value) => Math.max(value, -1e4));
    return encodeTensor(tensor.name, tensorOf(DataType.FLOAT16, dims, clipped));
  });
  return model;
}

/** Each number as float16 holds it. */
function rounded(values: Float32Array): Float32Array {
  return tensorValues(makeTensor("", [values.length], DataType.FLOAT16, values)).data as Float32Array;
}

const shape = { heads: 2, dim: 16, valueDim: 8 };
const batch = 2;
const length = 70;

/** Queries and keys so large that products of them reach `largest`. */
function inputsOf(model: AttentionModel, largest: number): AttentionInputs {
  const { query, key, value } = randomInputs(model, batch, length);
  const scale = Math.sqrt(largest / largestProduct(query, key));
  const [q, k] = [query, key].map((values) => rounded(values.map((x) => x * scale)));
  const mask = Float32Array.from({ length: batch * length }, (_, i) => Number(i < length || i % length < 50));
  return { batch, length, query: q!, key: k!, value: rounded(value), ...(model.padding && { mask }) };
}

function largestProduct(query: Float32Array, key: Float32Array): number {
  let largest = 0;
  for (let head = 0; head < batch * shape.heads; head++) {
    for (let i = 0; i < length; i++) {
      for (let j = 0; j < length; j++) {
        let product = 0;
        const [row, column] = [(head * length + i) * shape.dim, (head * length + j) * shape.dim];
        for (let at = 0; at < shape.dim; at++) product += query[row + at]! * key[column + at]!;
        largest = Math.max(largest, Math.abs(product));
      }
    }
  }
  return largest;
}

function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const apart = Math.abs(a[i]! - b[i]!);
    if (!(apart <= largest)) largest = apart;
  }
  return largest;
}

const features: readonly ConvertOptions["features"][] = ["positive", "hyperbolic", "dense-exponential", "relu", "elu"];

describe.each([
  ["with padding", { ...shape, padding: true }],
  ["causal", { ...shape, causal: true }],
] as const)("attention in float16, %s", (_, options) => {
  test("features are those of float64", async () => {
    const inputs = inputsOf(options, 10);
    for (const name of features) {
      const { model, sites } = convertAttention(halfModel(options), { count: 32, features: name!, cross: true });
      const found = await runAttention(await openAttention(model), options, inputs);
      const expected = referenceAttention(options, inputs, sites[0]!.featureMaps!);
      expect([name, largestDifference(found, expected) < 1e-2]).toEqual([name, true]);
    }
  });

  // 3e5 is beyond float16, whose largest number is 65504.
  test.each([1e4, 3e5])("|q.k| up to %s: what the same model in float32 gives", async (largest) => {
    const inputs = inputsOf(options, largest);
    for (const name of features) {
      const [halved, single] = await Promise.all(
        [halfModel(options), attentionModel({ ...options, opset: 13 })].map(async (model) => {
          const converted = convertAttention(model, { count: 32, features: name!, cross: true });
          return runAttention(await openAttention(converted.model), options, inputs);
        }),
      );
      expect([name, single!.some((value) => Math.abs(value) > 0.1), single!.every(Number.isFinite)]).toEqual([
        name,
        true,
        true,
      ]);
      // The output is rounded to float16, and nothing else.
      expect([name, largestDifference(halved!, single!) < 2e-3]).toEqual([name, true]);
    }
  });

  test("exact attention again where float16 holds the logits", async () => {
    const inputs = inputsOf(options, 100);
    const before = await runAttention(await openAttention(halfModel(options)), options, inputs);
    const { model } = convertAttention(halfModel(options), { features: "exact", rows: "proof", cross: true });
    const after = await runAttention(await openAttention(model), options, inputs);
    expect(largestDifference(before, after)).toBeLessThan(3e-2);
  });
});

test("the operator of onnxruntime stays finite where float16 does not", async () => {
  const options = { ...shape, causal: true };
  const { model } = convertAttention(halfModel(options), { count: 32, target: "onnxruntime", cross: true });
  const found = await runAttention(await openAttention(model), options, inputsOf(options, 3e5));
  expect(found.every(Number.isFinite)).toBe(true);
});

test.each([16, 24, 64])("the usual scale is read exactly: head dimension %s", (dim) => {
  const { sites } = inspectAttention(halfModel({ ...shape, dim }));
  expect(sites.map(({ verdict, scale }) => [verdict, scale])).toEqual([["convert", Math.fround(1 / Math.sqrt(dim))]]);
});

// Powers of two, which float16 holds; distances of up to 2,048 are whole numbers in it.
const fading = { ...shape, slopes: [0.25, 0.0078125] };

describe.each([
  ["bidirectional", fading],
  ["causal", { ...fading, causal: true }],
])("ALiBi in float16, %s", (_, options) => {
  test("features fade as in float64", async () => {
    const inputs = inputsOf(options, 10);
    const { model, sites } = convertAttention(halfModel(options), { count: 32, cross: true });
    expect(sites).toMatchObject([{ state: "linear", mask: { alibi: { slopes: options.slopes } } }]);
    const found = await runAttention(await openAttention(model), options, inputs);
    expect(largestDifference(found, referenceAttention(options, inputs, sites[0]!.featureMaps!))).toBeLessThan(1e-2);
  });
});

// -1e4 has steps of 8 in float16: where all keys are hidden, slopes and logits show as steps, and that is no softmax of them.
test("ALiBi beside an added padding mask is refused in float16, and exact by block", async () => {
  const options = { ...fading, padding: true };
  const { sites } = inspectAttention(halfModel(options));
  expect(sites.map(({ reasons }) => reasons.map(({ code }) => code))).toEqual([["not-softmax"]]);
  const { message } = sites[0]!.reasons[0]!;
  expect(message).toMatch(/where a mask of about -1e4 hides all keys, floats of 16 bits have steps of 8 or more/);
  expect(message).toMatch(/Convert the float32 model/);
  const inputs = inputsOf(options, 10);
  const before = await runAttention(await openAttention(halfModel(options)), options, inputs);
  const { model } = convertAttention(halfModel(options), { features: "exact", block: 16, cross: true });
  const after = await runAttention(await openAttention(model), options, inputs);
  expect(largestDifference(before, after)).toBeLessThan(3e-3);
});
