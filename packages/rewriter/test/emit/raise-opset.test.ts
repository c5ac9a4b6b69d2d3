import Long from "long";
import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import { raiseOpset } from "../../src/emit/raise-opset.ts";
import { Graph } from "@favor/onnx/graph";
import { decodeModel } from "@favor/onnx";
import { encodeModel } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { float32, node } from "@favor/test-support/nodes";
import { floatOutputs, largestDifference, openSession, sampleFeeds } from "@favor/test-support/onnxruntime";
import { smallModel, valueInfo } from "@favor/test-support/small-model";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";

const opsetOf = (model: ModelProto): number =>
  model.opsetImport.find(({ domain }) => domain === "")!.version.toNumber();

/** For a runtime without opset 27: its own LinearAttention, and the newest operator set that it has. */
function withoutOpset27(model: ModelProto): ModelProto {
  for (const one of model.graph.node) if (one.opType === "LinearAttention") one.domain = "com.microsoft";
  model.opsetImport = [
    createMessage("OperatorSetIdProto", { version: Long.fromNumber(21) }),
    createMessage("OperatorSetIdProto", { domain: "com.microsoft", version: Long.ONE }),
  ];
  model.irVersion = Long.fromNumber(10);
  return model;
}

const x = valueInfo("x", 1, ["batch", "length", 6]);

function raised(
  nodes: Parameters<typeof smallModel>[0],
  opset: number,
  ranks: Record<string, number> = {},
): ModelProto {
  const model = smallModel(nodes, { half: float32([], [0.5]) }, ["out"], [x], opset);
  raiseOpset(model, Graph.of(model), (value) => ranks[value]);
  return model;
}

describe("nodes of older opsets", () => {
  test("axes, splits, softmax and dropout take their present form", () => {
    const { graph, opsetImport } = raised(
      [
        node("Dropout", ["x"], ["dropped"], { ratio: { float: 0.1 } }),
        node("ReduceMean", ["dropped"], ["mean"], { axes: [2], keepdims: 1 }),
        node("Split", ["x"], ["a", "b"], { axis: 2, split: [2, 4] }),
        node("Split", ["a"], ["c", "d"], { axis: 2 }),
        node("Squeeze", ["c"], ["e"], { axes: [2] }),
        node("Softmax", ["e"], ["out"], { axis: 1 }),
      ],
      11,
      { e: 2 },
    );
    expect(opsetImport[0]!.version.toNumber()).toBe(27);
    const attributes = graph.node.map(({ attribute }) => attribute.map(({ name }) => name));
    expect(attributes).toEqual([[], ["keepdims"], ["axis"], ["axis", "num_outputs"], [], ["axis"]]);
    const sizes = graph.node.map(({ input }) => input.length);
    expect(sizes).toEqual([1, 2, 2, 1, 2, 1]);
    // Reduction and Squeeze share one list.
    expect(graph.node[1]!.input[1]).toBe(graph.node[4]!.input[1]);
    expect(graph.node[5]!.attribute[0]!.i.toNumber()).toBe(-1);
  });

  test.each([
    ["a set before 11", 10, node("Relu", ["x"], ["out"]), /opset 10, and only 11 and later/],
    ["a softmax over two axes", 12, node("Softmax", ["x"], ["out"], { axis: 1 }), /over all axes from 1 on/],
    [
      "another meaning",
      16,
      node("GridSample", ["x", "x"], ["out"]),
      /GridSample \(output "out"\) means something else since opset 20/,
    ],
  ])("%s is refused", (_, opset, one, message) => {
    expect(() => raised([one], opset, { x: 3 })).toThrow(
      expect.objectContaining({ code: "cannot-raise-opset", message: expect.stringMatching(message) }),
    );
  });
});

describe.skipIf(!hasSharedZoo)("target onnx27 (skipped if ../shared/zoo is absent)", () => {
  test.each(["gpt2-ts-eager-op14-dyn", "llama-dy-sdpa-op18-dyn", "hand_nanogpt-ts-op17-dyn", "attop23-causal"])(
    "%s: what the standard operator says is what other targets give",
    async (name) => {
      const entry = sharedZoo.entries.find((candidate) => candidate.name === name)!;
      const convert = (target: "onnx27" | "standard") =>
        convertAttention(decodeModel(sharedZoo.read(entry.model)), { target, count: 32 }).model;
      const model = convert("onnx27");
      expect(opsetOf(model)).toBe(27);
      expect(model.irVersion.toNumber()).toBeGreaterThanOrEqual(13);
      const operators = model.graph.node.filter(({ opType }) => opType === "LinearAttention");
      expect(operators.map(({ domain }) => domain)).toEqual(entry.attention.map(() => ""));
      const feeds = sampleFeeds(entry)[0]!;
      const expected = await floatOutputs(await openSession(encodeModel(convert("standard"))), feeds);
      const found = await floatOutputs(await openSession(encodeModel(withoutOpset27(model))), feeds);
      expect(largestDifference(expected, found)).toBeLessThan(1e-4);
    },
  );

  test("a bidirectional model needs no newer opset", () => {
    const model = decodeModel(sharedZoo.read("bert-ts-eager-op14-dyn.onnx"));
    expect(opsetOf(convertAttention(model, { target: "onnx27", count: 8 }).model)).toBe(14);
  });
});
