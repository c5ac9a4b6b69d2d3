import { expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { DataType } from "@favor/onnx";
import { hiddenStates, layerModel, type Layer } from "@favor/test-support/layer";

const memory = { ...hiddenStates, name: "memory", dims: ["batch", "keys", 16] };

/** Attention from `x` to itself, then to `memory`. */
const crossing = () =>
  layerModel(
    (b: Layer) => {
      const made = b.attend((s) => b.softmax(s));
      const [q, k, v] = [b.project(made), b.project("memory"), b.project("memory")];
      return b.merge(b.op("MatMul", [b.softmax(b.logits(q, k)), v]));
    },
    { inputs: [{ ...hiddenStates, dataType: DataType.FLOAT }, memory] },
  );

test("cross-attention that stays is named, with the option that converts it", () => {
  const { notes, sites } = convertAttention(crossing(), { count: 16 });
  expect(sites.map(({ kind, state }) => [kind, state])).toEqual([
    ["self", "linear"],
    ["cross", "unchanged"],
  ]);
  const quadratic = expect.stringMatching(/^3 tensors of the model still grow with the square of the length/) as string;
  expect(notes).toEqual([expect.stringMatching(/^1 cross-attention stays softmax.*"cross"/), quadratic]);
  expect(convertAttention(crossing(), { count: 16, cross: true }).notes).toEqual([]);
  expect(convertAttention(crossing(), { count: 16, keep: [1] }).notes).toEqual([quadratic]);
});

test.each(["onnxruntime", "onnx27"] as const)("the target %s without causal attention changes nothing", (target) => {
  const { notes, model } = convertAttention(crossing(), { count: 16, cross: true, target });
  expect(notes).toEqual([expect.stringMatching(/for causal linear attention.* none was converted/)]);
  expect(model.opsetImport.find(({ domain }) => domain === "")?.version.toNumber()).toBe(17);
  expect(model.graph.node.some(({ opType }) => opType === "LinearAttention")).toBe(false);
});
