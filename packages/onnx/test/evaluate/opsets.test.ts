import { describe, expect, test } from "vitest";
import type { Tensor } from "../../src/evaluate/tensor.ts";
import { DataType } from "../../src/model/proto.ts";
import { apply, applyAll, bool, float32, int64Max, int64Min, list, plain } from "@favor/test-support/nodes";

const matrix = float32([2, 3], [1, 2, 3, 4, 5, 6]);
const vector = float32([5], [0, 1, 2, 3, 4]);

const parts = (...tensors: Tensor[]): number[][] => tensors.map(({ data }) => Array.from(data));

describe("what is an attribute in older operator sets and an input in newer ones", () => {
  test("Squeeze and Unsqueeze: axes, since 13", () => {
    const row = float32([1, 3, 1], [1, 2, 3]);
    expect(apply("Squeeze", [row], { axes: [0] }, 11).dims).toEqual([3, 1]);
    expect(apply("Squeeze", [row, list(-1)], {}, 13).dims).toEqual([1, 3]);
    expect(apply("Squeeze", [row], {}, 13).dims).toEqual([3]);
    expect(apply("Unsqueeze", [vector], { axes: [0, 2] }, 11).dims).toEqual([1, 5, 1]);
    expect(apply("Unsqueeze", [vector, list(-1, 0)], {}, 13).dims).toEqual([1, 5, 1]);
  });

  test("reductions: axes, since 18, for ReduceSum since 13", () => {
    expect(plain(apply("ReduceMean", [matrix], { axes: [1], keepdims: 0 }, 17))).toEqual({ dims: [2], values: [2, 5] });
    expect(plain(apply("ReduceMean", [matrix, list(1)], {}, 18))).toEqual({ dims: [2, 1], values: [2, 5] });
    expect(plain(apply("ReduceSum", [matrix], { axes: [-2], keepdims: 0 }, 11)).values).toEqual([5, 7, 9]);
    expect(plain(apply("ReduceSum", [matrix, list(-2)], { keepdims: 0 }, 13)).values).toEqual([5, 7, 9]);
    expect(plain(apply("ReduceSum", [matrix], { keepdims: 0 }, 13))).toEqual({ dims: [], values: [21] });
    expect(apply("ReduceSum", [matrix, list()], { noop_with_empty_axes: 1 }, 13).dims).toEqual([2, 3]);
  });

  test("Slice: all of it, since 10", () => {
    expect(plain(apply("Slice", [vector], { starts: [1], ends: [-1] }, 9)).values).toEqual([1, 2, 3]);
    expect(plain(apply("Slice", [vector, list(1), list(-1)], {}, 10)).values).toEqual([1, 2, 3]);
  });

  test("Split: lengths, since 13; num_outputs, since 18", () => {
    expect(parts(...applyAll("Split", [vector], { split: [1, 4] }, 11, 2))).toEqual([[0], [1, 2, 3, 4]]);
    expect(parts(...applyAll("Split", [vector, list(3, 2)], {}, 13, 2))).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
    expect(parts(...applyAll("Split", [vector], { num_outputs: 2 }, 18, 2))).toEqual([
      [0, 1, 2],
      [3, 4],
    ]);
    expect(() => applyAll("Split", [vector, list(3, 3)], {}, 13, 2)).toThrow(/do not add up/);
  });

  test("Pad: since 11; axes since 18, wrap since 19", () => {
    expect(plain(apply("Pad", [vector], { pads: [1, 0], value: { float: 9 } }, 10)).values).toEqual([9, 0, 1, 2, 3, 4]);
    expect(plain(apply("Pad", [vector, list(-1, 1)], { mode: "edge" }, 11)).values).toEqual([1, 2, 3, 4, 4]);
    expect(plain(apply("Pad", [vector, list(2, 0)], { mode: "reflect" }, 13)).values).toEqual([2, 1, 0, 1, 2, 3, 4]);
    expect(plain(apply("Pad", [vector, list(0, 2)], { mode: "wrap" }, 19)).values).toEqual([0, 1, 2, 3, 4, 0, 1]);
    expect(apply("Pad", [matrix, list(1, 1), null, list(-1)], {}, 18).dims).toEqual([2, 5]);
  });

  test("Clip: bounds, since 11", () => {
    expect(plain(apply("Clip", [vector], { min: { float: 1 }, max: { float: 3 } }, 6)).values).toEqual([1, 1, 2, 3, 3]);
    expect(plain(apply("Clip", [vector, null, float32([], [2])], {}, 11)).values).toEqual([0, 1, 2, 2, 2]);
  });

  test("TopK: k, since 10", () => {
    expect(plain(apply("TopK", [vector], { k: 2 }, 9)).values).toEqual([4, 3]);
    expect(plain(apply("TopK", [vector, list(2)], { largest: 0 }, 11)).values).toEqual([0, 1]);
  });
});

describe("what changed its meaning", () => {
  test("Softmax flattens from axis 1 on before 13, and works along the last axis since", () => {
    const cube = float32([1, 2, 2], [0, 0, 0, 0]);
    expect(plain(apply("Softmax", [cube], {}, 11)).values).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(plain(apply("Softmax", [cube], {}, 13)).values).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(plain(apply("Softmax", [cube], { axis: 2 }, 11)).values).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(plain(apply("Softmax", [cube], { axis: 0 }, 13)).values).toEqual([1, 1, 1, 1]);
    expect(plain(apply("LogSoftmax", [cube], { axis: 0 }, 11)).values[0]).toBeCloseTo(-Math.log(4), 6);
  });

  test("Dropout's mask is Boolean since 10", () => {
    expect(applyAll("Dropout", [vector], {}, 9, 2)[1]!.dataType).toBe(DataType.FLOAT);
    expect(applyAll("Dropout", [vector], {}, 13, 2)[1]!.dataType).toBe(DataType.BOOL);
  });

  test("Shape takes a part of the shape since 15", () => {
    expect(plain(apply("Shape", [matrix], {}, 13)).values).toEqual([2, 3]);
    expect(plain(apply("Shape", [matrix], { start: -1 }, 15)).values).toEqual([3]);
    expect(plain(apply("Shape", [matrix], { start: -9, end: 1 }, 15)).values).toEqual([2]);
  });

  test("Reshape copies a dimension for 0, unless allowzero (14)", () => {
    expect(apply("Reshape", [matrix, list(0, -1, 1)], {}, 13).dims).toEqual([2, 3, 1]);
    const nothing = float32([0, 3], []);
    expect(apply("Reshape", [nothing, list(3, 0)], { allowzero: 1 }, 14).dims).toEqual([3, 0]);
    expect(() => apply("Reshape", [matrix, list(4, -1)], {}, 14)).toThrow(/cannot have the shape/);
  });
});

const slice = (starts: number, ends: number, step: number): number[] =>
  plain(apply("Slice", [vector, list(starts), list(ends), list(0), list(step)])).values;

describe("slices", () => {
  test("clamp INT64_MAX and INT64_MIN to the ends", () => {
    expect(slice(1, int64Max, 1)).toEqual([1, 2, 3, 4]);
    expect(slice(int64Min, 2, 1)).toEqual([0, 1]);
    expect(slice(-1, int64Min, -2)).toEqual([4, 2, 0]);
    expect(slice(int64Max, int64Min, -1)).toEqual([4, 3, 2, 1, 0]);
  });

  test("take negative bounds, empty ranges and steps beyond the end", () => {
    expect(slice(-3, -1, 1)).toEqual([2, 3]);
    expect(slice(3, 1, 1)).toEqual([]);
    expect(slice(0, 5, 9)).toEqual([0]);
    expect(() => slice(0, 5, 0)).toThrow(/step is 0/);
  });

  test("of nothing are nothing", () => {
    expect(apply("Slice", [float32([0], []), list(-1), list(int64Min), list(0), list(-1)]).dims).toEqual([0]);
  });
});

describe("broadcasting", () => {
  test("repeats dimensions of 1 on either side", () => {
    const column = float32([2, 1], [10, 20]);
    expect(plain(apply("Add", [column, float32([3], [1, 2, 3])]))).toEqual({
      dims: [2, 3],
      values: [11, 12, 13, 21, 22, 23],
    });
    expect(apply("Mul", [float32([1], [2]), float32([0], [])]).dims).toEqual([0]);
    expect(apply("Add", [float32([1, 1], [2]), float32([], [1])]).dims).toEqual([1, 1]);
  });

  test("refuses shapes that do not fit", () => {
    expect(() => apply("Add", [matrix, float32([2], [0, 0])])).toThrow(/\[2, 3\] and \[2\] do not broadcast/);
  });

  test("Expand keeps a dimension where the target says 1", () => {
    expect(apply("Expand", [float32([3, 1], [1, 2, 3]), list(2, 1, 4)]).dims).toEqual([2, 3, 4]);
    expect(apply("Expand", [matrix, list(1)]).dims).toEqual([2, 3]);
  });

  test("Where broadcasts all three", () => {
    const chosen = apply("Where", [bool([2, 1], [1, 0]), float32([], [7]), float32([2], [1, 2])]);
    expect(plain(chosen)).toEqual({ dims: [2, 2], values: [7, 7, 1, 2] });
  });
});
