import { expect, test } from "vitest";
import { DataType, type ModelProto, type NodeProto } from "@favor/onnx";
import { encodeTensor } from "@favor/onnx/evaluate";
import { float32, int64, node } from "@favor/test-support/nodes";
import { valueInfo } from "@favor/test-support/small-model";
import { convertAttention } from "../../src/model-attention.ts";
import { attentionModel, openAttention, runAttention, type AttentionModel } from "./attention-model.ts";
import { gaussians, randomInputs } from "./reference.ts";

const shape: AttentionModel = { heads: 2, dim: 8 };

/** What lies between the two products of a feed-forward layer, from `wide` to `active`, both 4 x 8 per position. */
type Middle = readonly NodeProto[];

const relu: Middle = [node("Relu", ["wide"], ["active"])];
/** A gate as in GLU variants. */
const gated: Middle = [
  node("Split", ["wide"], ["gate", "up"], { axis: -1 }),
  node("Sigmoid", ["gate"], ["open"]),
  node("Mul", ["open", "up"], ["half"]),
  node("Concat", ["half", "half"], ["active"], { axis: -1 }),
];
const acrossPositions: Middle = [node("Softmax", ["wide"], ["active"], { axis: 2 })];
const quantised: Middle = [
  node("DynamicQuantizeLinear", ["wide"], ["integers", "step", "zeroPoint"]),
  node("DequantizeLinear", ["integers", "step", "zeroPoint"], ["active"]),
];

/** An attention, and a feed-forward layer on its output. */
function withFeedForward(middle: Middle): ModelProto {
  const model = attentionModel(shape);
  const { graph } = model;
  for (const each of graph.node) each.output = each.output.map((name) => (name === "out" ? "attended" : name));
  graph.node.push(
    node("MatMul", ["attended", "w1"], ["product"]),
    node("Add", ["product", "b1"], ["wide"]),
    ...middle,
    node("MatMul", ["active", "w2"], ["down"]),
    node("Add", ["attended", "down"], ["out"]),
  );
  const weights = { w1: [8, 32], b1: [32], w2: [32, 8] };
  for (const [name, dims] of Object.entries(weights)) {
    const count = dims.reduce((product, dim) => product * dim, 1);
    graph.initializer.push(encodeTensor(name, float32(dims, [...gaussians(count, count, 0.3)])));
  }
  return model;
}

const inBlocks = /^1 feed-forward layer is computed by blocks of at most 5 positions/;

test.each([
  ["an activation", relu],
  ["a gate", gated],
])("a feed-forward layer with %s by blocks of positions: the same outputs", async (_, middle) => {
  const original = withFeedForward(middle);
  const { model, notes } = convertAttention(original, { features: "exact", block: 5, cross: true });
  expect(notes.join("\n")).toMatch(inBlocks);
  expect(model.graph.node.filter(({ opType }) => opType === "Scan")).toHaveLength(2);
  expect(model.graph.node.flatMap(({ output }) => output)).not.toContain("wide");
  const [before, after] = [await openAttention(original), await openAttention(model)];
  for (const [batch, length] of [
    [1, 1],
    [3, 4],
    [1, 5],
    [2, 6],
    [1, 23],
  ] as const) {
    const inputs = randomInputs(shape, batch, length);
    const [a, b] = [await runAttention(before, shape, inputs), await runAttention(after, shape, inputs)];
    expect(a).toHaveLength(b.length);
    expect(Math.max(...a.map((value, i) => Math.abs(value - b[i]!)))).toBeLessThan(1e-5);
  }
});

test.each([
  ["a layer that mixes positions", acrossPositions],
  ["a layer that is quantised by the range of all positions", quantised],
  ["a layer that is narrow", [node("Slice", ["wide", "from", "to", "axis"], ["active"])]],
])("%s stays as it is", (_, middle) => {
  const original = withFeedForward(middle);
  const bounds = { from: [0], to: [8], axis: [3] };
  for (const [name, values] of Object.entries(bounds)) {
    original.graph.initializer.push(encodeTensor(name, int64([1], values)));
  }
  if (middle.some(({ opType }) => opType === "Slice")) {
    const weights = original.graph.initializer.findIndex(({ name }) => name === "w2");
    original.graph.initializer[weights] = encodeTensor("w2", float32([8, 8], [...gaussians(64, 1)]));
  }
  const { model, notes } = convertAttention(original, { features: "exact", block: 5, cross: true });
  expect(notes).toEqual([]);
  expect(model.graph.node.flatMap(({ output }) => output)).toContain("wide");
});

test("a layer whose wide numbers are read elsewhere stays as it is", () => {
  const original = withFeedForward(relu);
  original.graph.output.push(valueInfo("active", DataType.FLOAT, ["batch", 2, "length", 32]));
  const { notes } = convertAttention(original, { features: "exact", block: 5, cross: true });
  expect(notes).toEqual([]);
});

test("a projection of an attention that is wider than its output is no feed-forward layer", () => {
  const model = attentionModel({ ...shape, valueDim: 32 });
  const { graph } = model;
  for (const each of graph.node) each.output = each.output.map((name) => (name === "out" ? "attended" : name));
  graph.node.push(node("MatMul", ["attended", "w2"], ["out"]));
  graph.initializer.push(encodeTensor("w2", float32([32, 8], [...gaussians(256, 1)])));
  graph.output = [valueInfo("out", DataType.FLOAT, ["batch", 2, "length", 8])];
  const converted = convertAttention(model, { features: "exact", block: 5, cross: true });
  expect(converted.notes).toEqual([]);
  expect(converted.model.graph.node.filter(({ opType }) => opType === "Scan")).toHaveLength(1);
});

test("linear attention leaves feed-forward layers as they are", () => {
  const { notes } = convertAttention(withFeedForward(relu), { features: "positive", count: 8, cross: true });
  expect(notes).toEqual([]);
});
