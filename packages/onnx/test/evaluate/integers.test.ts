import { describe, expect, test } from "vitest";
import { UnsupportedOperatorError } from "../../src/evaluate/errors.ts";
import { evaluateGraph } from "../../src/evaluate/graph.ts";
import { decodeTensor, encodeTensor, tensorOf } from "../../src/evaluate/tensor.ts";
import { DataType } from "../../src/model/proto.ts";
import { apply, bool, float32, int64, int64Max, int64Min, list, node, plain } from "@favor/test-support/nodes";

const int32 = (...values: number[]) => tensorOf(DataType.INT32, [values.length], values);
const values = (...args: Parameters<typeof apply>) => plain(apply(...args)).values;

describe("integers", () => {
  test("divide towards zero, and not by zero", () => {
    expect(values("Div", [list(7, -7, 7), list(2, 2, -2)])).toEqual([3, -3, -3]);
    expect(() => apply("Div", [list(1), list(0)])).toThrow(/divided by zero/);
  });

  test("Mod has the sign of the divisor, or of the dividend with fmod", () => {
    expect(values("Mod", [list(-7, 7, -6), list(3, -3, 3)])).toEqual([2, -2, 0]);
    expect(values("Mod", [list(-7, 7, -6), list(3, -3, 3)], { fmod: 1 })).toEqual([-1, 1, 0]);
  });

  test("of 32 bits wrap", () => {
    expect(values("Add", [int32(2 ** 31 - 1), int32(1)])).toEqual([-(2 ** 31)]);
    expect(values("Mul", [int32(123456789), int32(987654321)])).toEqual([Math.imul(123456789, 987654321)]);
  });

  test("are cast as on all processors, else saturated, wrapped or unknown", () => {
    const floats = float32([4], [-1.7, 1.7, 3e38, NaN]);
    expect(values("Cast", [floats], { to: DataType.INT32 })).toEqual([-1, 1, 2 ** 31 - 1, 0]);
    expect(values("Cast", [float32([3], [-Infinity, -1e30, 5.5])], { to: DataType.INT64 })).toEqual([
      int64Min,
      int64Min,
      5,
    ]);
    expect(values("Cast", [float32([3], [NaN, Infinity, 1e30])], { to: DataType.INT64 })).toEqual([NaN, NaN, NaN]);
    expect(values("Cast", [list(300, -1)], { to: DataType.UINT8 })).toEqual([44, 255]);
    expect(values("Cast", [list(int64Max)], { to: DataType.INT32 })).toEqual([-1]);
    expect(values("Cast", [floats], { to: DataType.BOOL })).toEqual([1, 1, 1, 1]);
  });

  test("INT64_MAX and INT64_MIN survive storing and reading", () => {
    const stored = encodeTensor("bounds", list(int64Max, int64Min, -3));
    const view = new DataView(stored.rawData.buffer, stored.rawData.byteOffset);
    expect(view.getBigInt64(0, true)).toBe(2n ** 63n - 1n);
    expect(view.getBigInt64(8, true)).toBe(-(2n ** 63n));
    expect(plain(decodeTensor(stored)).values).toEqual([int64Max, int64Min, -3]);
  });

  test("bound Clip, Min and Max by sentinels", () => {
    expect(values("Clip", [list(5, -5), int64([], [int64Min]), int64([], [3])])).toEqual([3, -5]);
    expect(values("Min", [list(int64Max, 4), list(7)])).toEqual([7, 4]);
    expect(values("ReduceMax", [list(int64Max, 4)], { keepdims: 0 })).toEqual([int64Max]);
  });
});

describe("integers beyond 2^53", () => {
  const beyond = node("Add", ["x", "one"], ["beyond"]);
  const feeds = new Map([
    ["x", list(int64Min, 5)],
    ["one", list(1, 1)],
    ["choose", bool([2], [0, 1])],
    ["zero", list(0)],
  ]);
  const run = (nodes: Parameters<typeof evaluateGraph>[0], wanted: string) =>
    plain(evaluateGraph(nodes, [wanted], feeds, { opsets: new Map([["", 17]]) }).get(wanted)!).values;

  test("may be discarded, as T5's position buckets do", () => {
    expect(run([beyond, node("Where", ["choose", "beyond", "zero"], ["y"])], "y")).toEqual([0, 6]);
  });

  test.each([
    ["Less", ["beyond", "zero"], {}],
    ["Cast", ["beyond"], { to: DataType.FLOAT }],
    ["NonZero", ["beyond"], {}],
    ["Identity", ["beyond"], {}],
    ["ConstantOfShape", ["beyond"], {}],
  ] as const)("are refused where %s depends on them", (type, inputs, attributes) => {
    expect(() => run([beyond, node(type, [...inputs], ["y"], attributes)], "y")).toThrow(UnsupportedOperatorError);
  });

  test("are refused as indices", () => {
    expect(() => run([beyond, node("Gather", ["x", "beyond"], ["y"])], "y")).toThrow(/index NaN/);
  });
});
