import { expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { bodies } from "@favor/onnx/graph";
import { DataType, type ModelProto } from "@favor/onnx";
import { valueInfo } from "@favor/test-support/small-model";
import { attentionModel, openAttention, runAttention } from "./attention-model.ts";
import { randomInputs } from "./reference.ts";

const kind = { heads: 2, dim: 4, causal: true };
const convert = (): ModelProto => convertAttention(attentionModel(kind), { count: 8, cross: true }).model;

test("Scans declare the rank of what they carry: onnxruntime runs them where it infers no shape before", async () => {
  const model = convert();
  const scans = model.graph.node.filter((node) => node.opType === "Scan");
  const declared = scans.flatMap(bodies).flatMap(({ input, output }) => [...input, ...output]);
  expect(declared.length).toBeGreaterThan(0);
  expect(declared.map(({ type }) => type?.tensorType?.shape?.dim.length)).toEqual(declared.map(() => 4));

  // Two chunks and a part of one: the state is carried on.
  const inputs = randomInputs(kind, 2, 150);
  const expected = await runAttention(await openAttention(model), kind, inputs);
  const unshaped = convert();
  const { graph } = unshaped;
  graph.input = graph.input.map(({ name }) => valueInfo(name, DataType.FLOAT, null));
  graph.output = graph.output.map(({ name }) => valueInfo(name, DataType.FLOAT, null));
  expect(await runAttention(await openAttention(unshaped), kind, inputs)).toEqual(expected);
});
