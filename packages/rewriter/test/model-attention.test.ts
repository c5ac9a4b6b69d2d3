import { decodeModel, encodeModel, type ModelProto } from "@favor/onnx";
import { coreZoo } from "@favor/test-support/zoo/folder";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { convertAttention, findAttention } from "../src/model-attention.ts";

/** Plain attention, a causal decoder, fused operators, layers that must stay softmax, and attention inside a body. */
const names = [
  "bert-ts113-eager-op14-dyn",
  "gpt2-ts113-eager-op14-dyn",
  "modernbert-ts-eager-op14-dyn",
  "bert-dy-sdpa-op23-dyn",
  "hand_timm-ts-op17-dyn",
];

const read = (name: string): ModelProto => decodeModel(new Uint8Array(readFileSync(coreZoo.path(`${name}.onnx`))));
const bytesOf = (model: ModelProto): Buffer => Buffer.from(encodeModel(model));

describe.each(names)("the attention of %s, found once", (name) => {
  test("converts to the same bytes however often, and in any order with taps", () => {
    const model = read(name);
    const before = bytesOf(model);
    const attention = findAttention(model);
    const first = bytesOf(attention.convert({ count: 16 }).model);
    const samples = bytesOf(attention.tapSamples().model);
    const moments = bytesOf(attention.tapMoments().model);
    attention.convert({ features: "exact", keep: [0], maxLength: 24 });
    expect(bytesOf(attention.convert({ count: 16 }).model).equals(first)).toBe(true);
    expect(bytesOf(attention.tapSamples().model).equals(samples)).toBe(true);
    expect(bytesOf(attention.tapMoments().model).equals(moments)).toBe(true);
    expect(bytesOf(model).equals(before)).toBe(true);
    expect(bytesOf(convertAttention(model, { count: 16 }).model).equals(first)).toBe(true);
    expect(bytesOf(model).equals(before)).toBe(true);
  });
});

test("raising the operator set for one conversion leaves the others' as it was", () => {
  const attention = findAttention(read("gpt2-ts113-eager-op14-dyn"));
  const plain = bytesOf(attention.convert({ count: 16 }).model);
  const raised = attention.convert({ count: 16, target: "onnx27" }).model;
  expect(raised.opsetImport.map(({ version }) => version.toNumber())).toContain(27);
  expect(bytesOf(attention.convert({ count: 16 }).model).equals(plain)).toBe(true);
});
