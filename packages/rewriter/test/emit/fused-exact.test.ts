import { describe, expect, test } from "vitest";
import { convertAttention } from "../../src/model-attention.ts";
import type { ModelProto } from "@favor/onnx";
import { attentionModel, openAttention, runAttention, type AttentionModel } from "./attention-model.ts";
import { randomInputs } from "./reference.ts";

const exact = (model: ModelProto): ModelProto =>
  convertAttention(model, { features: "exact", target: "onnxruntime", cross: true }).model;

const types = (model: ModelProto): string[] => model.graph.node.map(({ opType }) => opType);

function largest(a: Float32Array, b: Float32Array): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

describe("exact attention as onnxruntime's MultiHeadAttention", () => {
  const shapes: readonly AttentionModel[] = [
    { heads: 2, dim: 8 },
    { heads: 3, dim: 5, valueDim: 7, padding: true },
    { heads: 12, dim: 64, padding: true, opset: 13 },
  ];

  test.each(shapes)("%o: the original's outputs, at every length and batch", async (shape) => {
    const original = attentionModel(shape);
    const fused = exact(original);
    expect(types(fused).filter((type) => type === "MultiHeadAttention")).toHaveLength(1);
    expect(types(fused)).not.toContain("Softmax");
    const [before, after] = [await openAttention(original), await openAttention(fused)];
    for (const [batch, length] of [
      [1, 1],
      [3, 17],
      [2, 130],
    ] as const) {
      const inputs = randomInputs(shape, batch, length, 3);
      const mask = Float32Array.from({ length: batch * length }, (_, i) => Number(i % length === 0 || i % 3 > 0));
      const given = shape.padding === true ? { ...inputs, mask } : inputs;
      const [a, b] = [await runAttention(before, shape, given), await runAttention(after, shape, given)];
      expect(largest(a, b)).toBeLessThan(5e-6);
    }
  });

  test("a row of hidden keys stays finite, and the values of hidden keys do not count", async () => {
    const shape = { heads: 2, dim: 8, padding: true };
    const session = await openAttention(exact(attentionModel(shape)));
    const inputs = randomInputs(shape, 2, 20);
    const mask = Float32Array.from({ length: 40 }, (_, i) => Number(i >= 20 && i < 30));
    const out = await runAttention(session, shape, { ...inputs, mask });
    expect(out.every(Number.isFinite)).toBe(true);
    const value = inputs.value.map((entry, i) => (Math.floor(i / 8) % 20 >= 10 ? 1e30 : entry));
    const changed = await runAttention(session, shape, { ...inputs, value, mask });
    expect(changed.subarray(320)).toEqual(out.subarray(320));
  });

  test("causal attention stays as it was: the kernel would hold all weights at once", () => {
    const { model, notes } = convertAttention(attentionModel({ heads: 2, dim: 8, causal: true }), {
      features: "exact",
      target: "onnxruntime",
      cross: true,
    });
    expect(types(model)).not.toContain("MultiHeadAttention");
    expect(model.opsetImport.map(({ domain }) => domain)).toEqual([""]);
    expect(notes).toEqual([expect.stringMatching(/exact attention of float32 that is not causal, and none/)]);
  });
});
