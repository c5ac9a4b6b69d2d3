import { describe, expect, test } from "vitest";
import { tensorOf, type Tensor } from "../../src/evaluate/tensor.ts";
import { DataType } from "../../src/model/proto.ts";
import { apply, applyAll, float32, plain } from "@favor/test-support/nodes";

const int32 = (dims: readonly number[], values: readonly number[]): Tensor => tensorOf(DataType.INT32, dims, values);
const wave = (dims: readonly number[], phase: number): Tensor => {
  const length = dims.reduce((a, b) => a * b, 1);
  return float32(
    dims,
    Array.from({ length }, (_, i) => Math.sin(1.7 * i + phase)),
  );
};
const largestDifference = (a: Tensor, b: Tensor): number =>
  Math.max(...Array.from(a.data, (value, i) => Math.abs(value - b.data[i]!)));

describe("onnxruntime's fused attention", () => {
  const [batch, length, width, heads] = [2, 4, 4, 2];
  const input = wave([batch, length, width], 0);
  const weight = wave([width, 3 * width], 1);
  const bias = wave([3 * width], 2);
  // The second sequence has two keys less.
  const lengths = [4, 2];
  const raw = int32([batch, length], [1, 1, 1, 1, 1, 1, 0, 0]);
  const fused = (mask: Tensor | null, more = {}) =>
    apply("com.microsoft:Attention", [input, weight, bias, mask], { num_heads: heads, ...more });

  test("reads its mask as raw values, as lengths, or as lengths and starts", () => {
    const expected = fused(raw);
    expect(largestDifference(expected, fused(null))).toBeGreaterThan(1e-3);
    expect(largestDifference(expected, fused(int32([batch], lengths)))).toBe(0);
    expect(largestDifference(expected, fused(int32([2 * batch], [...lengths, 0, 0])))).toBe(0);
    const square = int32(
      [batch, length, length],
      [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0],
    );
    expect(largestDifference(expected, fused(square))).toBe(0);
  });

  test("is the standard Attention of its projections", () => {
    const packed = apply("Add", [apply("MatMul", [input, weight]), bias]);
    const [query, key, value] = applyAll("Split", [packed], { axis: 2 }, 17, 3) as [Tensor, Tensor, Tensor];
    const mask = apply("Cast", [apply("Unsqueeze", [raw, int32([2], [1, 2])])], { to: DataType.BOOL });
    const standard = apply("Attention", [query, key, value, mask], { q_num_heads: heads, kv_num_heads: heads });
    expect(largestDifference(fused(raw), standard)).toBeLessThan(1e-6);
    const separate = [query, key, value, null, raw];
    const multiHead = apply("com.microsoft:MultiHeadAttention", separate, { num_heads: heads });
    expect(largestDifference(multiHead, standard)).toBeLessThan(1e-6);
    const causal = apply("Attention", [query, key, value], { q_num_heads: heads, kv_num_heads: heads, is_causal: 1 });
    expect(largestDifference(fused(null, { unidirectional: 1 }), causal)).toBeLessThan(1e-6);
  });

  test("refuses a past", () => {
    expect(() => apply("com.microsoft:Attention", [input, weight, bias, raw, input], { num_heads: 2 })).toThrow(/past/);
  });
});

test("FusedMatMul scales and transposes", () => {
  const a = float32([1, 2], [1, 2]);
  const b = float32([3, 2], [1, 0, 0, 1, 1, 1]);
  const product = apply("com.microsoft:FusedMatMul", [a, b], { transB: 1, alpha: { float: 0.5 } });
  expect(plain(product)).toEqual({ dims: [1, 3], values: [0.5, 1, 1.5] });
});

test("SkipLayerNormalization normalises the sum, and returns it too", () => {
  const [x, skip, bias] = [float32([1, 2], [1, 2]), float32([1, 2], [2, 6]), float32([2], [1, 0])];
  const [scale, shift] = [float32([2], [1, 1]), float32([2], [0, 10])];
  const outputs = applyAll("com.microsoft:SkipLayerNormalization", [x, skip, scale, shift, bias], {}, 1, 4);
  expect(plain(outputs[0]!).values).toEqual([-1, 11]);
  expect(plain(outputs[1]!).values).toEqual([6]);
  expect(plain(outputs[3]!).values).toEqual([4, 8]);
});

test("MatMulNBits unpacks 4-bit weights by block", () => {
  // K = 4, N = 1, two blocks of 2; the low half of a byte comes first, and 8 is zero unless said otherwise.
  const packed = tensorOf(DataType.UINT8, [1, 2, 1], [0x9a, 0x07]);
  const attributes = { K: 4, N: 1, bits: 4, block_size: 2 };
  const eye = float32([4, 4], [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
  const scales = float32([2], [1, 10]);
  const product = apply("com.microsoft:MatMulNBits", [eye, packed, scales], attributes);
  expect(plain(product).values).toEqual([2, 1, -10, -80]);
  const zeros = tensorOf(DataType.UINT8, [1], [0x7a]);
  const shifted = apply("com.microsoft:MatMulNBits", [eye, packed, scales, zeros], attributes);
  expect(plain(shifted).values).toEqual([0, -1, 0, -70]);
});

test("EmbedLayerNormalization gives the length of each sequence", () => {
  const table = float32([2, 2], [1, 3, 5, 1]);
  const zeros = float32([2, 2], [0, 0, 0, 0]);
  const [ones, none] = [float32([2], [1, 1]), float32([2], [0, 0])];
  const inputs = [int32([1, 2], [0, 1]), null, table, zeros, null, ones, none, int32([1, 2], [1, 0])];
  const [embedded, lengths] = applyAll("com.microsoft:EmbedLayerNormalization", inputs, {}, 1, 2);
  expect(plain(embedded!)).toEqual({ dims: [1, 2, 2], values: [-1, 1, 1, -1] });
  expect(plain(lengths!)).toEqual({ dims: [1], values: [1] });
});
