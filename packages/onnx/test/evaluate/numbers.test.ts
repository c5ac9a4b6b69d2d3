import { describe, expect, test } from "vitest";
import { erf } from "../../src/evaluate/error-function.ts";
import * as formats from "../../src/evaluate/number-formats.ts";
import { decodeTensor, tensorOf } from "../../src/evaluate/tensor.ts";
import { DataType } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";
import { smallFloatTable } from "../../src/model/small-floats.ts";

describe("erf", () => {
  // What the C library of glibc gives.
  test.each([
    [0, 0],
    [0.1, 0.1124629160182849],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.99, 0.9999764743969194],
    [3.5, 0.9999992569016276],
    [4, 0.9999999845827421],
    [Infinity, 1],
  ])("erf(%d) = %d", (x, expected) => {
    expect(Math.abs(erf(x) - expected)).toBeLessThan(2e-15);
    expect(erf(-x) + erf(x)).toBe(0);
  });

  test("has no step where the series meets the continued fraction", () => {
    expect(Math.abs(erf(3.000001) - erf(3) - 1e-6 * (2 / Math.sqrt(Math.PI)) * Math.exp(-9))).toBeLessThan(1e-14);
  });
});

describe("rounding to small floating-point types", () => {
  test.each([
    ["float16", formats.float16, DataType.FLOAT16],
    ["bfloat16", formats.bfloat16, DataType.BFLOAT16],
    ["float8E4M3FN", formats.float8E4M3FN, DataType.FLOAT8E4M3FN],
    ["float8E5M2FNUZ", formats.float8E5M2FNUZ, DataType.FLOAT8E5M2FNUZ],
    ["float4E2M1", formats.float4E2M1, DataType.FLOAT4E2M1],
  ] as const)("%s: its own values stay, and what lies between goes to the nearer one", (_, format, dataType) => {
    const numbers = smallFloatTable(dataType)!.filter(Number.isFinite).toSorted();
    const wrong = [...numbers.keys()].slice(1).filter((i) => {
      const [low, high] = [numbers[i - 1]!, numbers[i]!];
      return (
        formats.roundTo(low, format) !== low ||
        formats.roundTo(low + (high - low) * 0.499, format) !== low ||
        formats.roundTo(low + (high - low) * 0.501, format) !== high
      );
    });
    expect(numbers.length).toBeGreaterThan(14);
    expect(wrong).toEqual([]);
  });

  test("many numbers are rounded as each of them is", () => {
    const step = 2 ** 32 / 65_521;
    const codes = Uint32Array.from({ length: 65_521 }, (_, i) => Math.floor(i * step));
    const values = new Float32Array(codes.buffer);
    for (const format of Object.values(formats).filter((entry) => typeof entry === "object")) {
      // Halves between two numbers, and what lies next to the largest, are among them.
      const halves = values.map((value) => formats.roundTo(value, format) * (1 + 2 ** -(format.mantissaBits + 1)));
      const given = Float32Array.of(...values.subarray(0, 20_000), ...values.subarray(40_000), format.max, -format.max);
      for (const numbers of [given, halves.slice()]) {
        const expected = numbers.map((value) => formats.roundTo(value, format));
        formats.roundAll(numbers, format);
        expect(numbers).toEqual(expected);
      }
    }
  });

  test("halves go to even, and what is too large to infinity", () => {
    expect(formats.roundTo(1 + 2 ** -11, formats.float16)).toBe(1);
    expect(formats.roundTo(1 + 3 * 2 ** -11, formats.float16)).toBe(1 + 2 ** -9);
    expect(formats.roundTo(65519, formats.float16)).toBe(65504);
    expect(formats.roundTo(65520, formats.float16)).toBe(Infinity);
    expect(formats.roundTo(-3.4028234663852886e38, formats.bfloat16)).toBe(-Infinity);
    expect(formats.roundTo(1000, formats.float8E4M3FN, true)).toBe(448);
  });
});

describe("tensors", () => {
  test("of half precision are rounded when made", () => {
    expect(tensorOf(DataType.FLOAT16, [1], [0.1]).data[0]).toBe(0.0999755859375);
  });

  test("of the wrong length or of strings are refused", () => {
    expect(() => tensorOf(DataType.FLOAT, [2], [1])).toThrow(/2 elements for shape \[2\]/);
    expect(() => decodeTensor(createMessage("TensorProto", { dataType: DataType.STRING }))).toThrow(/data type/);
  });
});
