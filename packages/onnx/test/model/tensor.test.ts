import { readFileSync } from "node:fs";
import { ArgumentError } from "@favor/core";
import Long from "long";
import { describe, expect, it } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { TensorError } from "../../src/model/errors.ts";
import { checkTensor } from "../../src/model/tensor-shape.ts";
import { createMessage } from "../../src/model/schema.ts";
import { decodeMessage, decodeModel } from "../../src/model/decode.ts";
import { encodeMessage } from "../../src/model/encode.ts";
import { makeTensor, tensorStrings, tensorValues } from "../../src/model/tensor.ts";
import { memoryRange } from "../../src/model/byte-range.ts";
import type { TensorProto } from "../../src/model/proto.ts";

const fixture = (name: string): Uint8Array => readFileSync(new URL(`fixtures/${name}`, import.meta.url));
const dims = (...values: number[]): Long[] => values.map((value) => Long.fromNumber(value));
const tensor = (fields: Partial<TensorProto>): TensorProto =>
  createMessage("TensorProto", { name: "w", dataType: DataType.FLOAT, ...fields });

describe("fault 15: every element type, against Python's onnx", () => {
  const expected = JSON.parse(fixture("tensors.json").toString()) as Record<string, string[]>;
  const { initializer } = decodeModel(fixture("tensors.onnx")).graph;

  it("covers all but strings, raw and typed", () => {
    expect(initializer.length).toBe(2 * (Object.keys(DataType).length - 2));
  });

  it.each(initializer.map((entry) => [entry.name, entry] as const))("%s", (name, entry) => {
    const values = Array.from(tensorValues(entry).data, Number);
    // Python writes "inf" and "nan"; Number reads neither.
    const wanted = expected[name]!.map((text) => Number(text.replace("inf", "Infinity").replace("nan", "NaN")));
    expect(values).toEqual(wanted);
  });

  it("INT64 and UINT64 are exact", () => {
    const { data } = tensorValues(initializer.find((entry) => entry.name === "UINT64 typed")!);
    expect(data[1]).toBe(2n ** 64n - 1n);
    expect(Array.from(data, String)).toEqual(expected["UINT64 typed"]);
  });
});

/** The message of the TensorError that reading such a tensor "w" throws. */
function refusal(fields: Partial<TensorProto>): string {
  try {
    tensorValues(tensor(fields));
  } catch (error) {
    if (error instanceof TensorError && error.tensor === "w" && error.code === "bad-tensor") return error.message;
    throw error;
  }
  throw new Error("the tensor was not refused");
}

const utf8 = (...strings: string[]): Uint8Array[] => strings.map((string) => new TextEncoder().encode(string));

function rounded(dataType: number, value: number): number {
  return Number(tensorValues(makeTensor("w", [1], dataType, Float32Array.of(value))).data[0]);
}

describe("tensor faults", () => {
  it("fault 11: negative dimensions", () => {
    expect(refusal({ dims: dims(-1, 4), rawData: new Uint8Array(16) })).toMatch(/\[-1, 4\] has a negative dimension/);
    expect(refusal({ dims: dims(-2, -2), rawData: new Uint8Array(16) })).toMatch(/negative/);
  });

  it("fault 12: more than 2^53 elements", () => {
    expect(refusal({ dims: dims(2 ** 32, 2 ** 32), rawData: new Uint8Array(4) })).toMatch(
      /18446744073709551616 elements/,
    );
    expect(refusal({ dims: [Long.MAX_VALUE], rawData: new Uint8Array(4) })).toMatch(/beyond 2\^53/);
    // The product is 0, but a loop over the first dimension would not end.
    expect(refusal({ dims: [Long.MAX_VALUE, Long.ZERO] })).toMatch(/beyond 2\^53/);
  });

  it("fault 13: data longer or shorter than shape and type say", () => {
    expect(refusal({ dims: dims(2, 2), rawData: new Uint8Array(15) })).toMatch(
      /FLOAT\[2, 2\], which takes 16 bytes, but has 15/,
    );
    expect(refusal({ dims: dims(2, 2), rawData: new Uint8Array(17) })).toMatch(/16 bytes, but has 17/);
    expect(refusal({ dims: dims(3), floatData: [1, 2] })).toMatch(/takes 3 values, but has 2/);
    expect(refusal({ dims: dims(3), dataType: DataType.INT4, rawData: new Uint8Array(3) })).toMatch(
      /takes 2 bytes, but has 3/,
    );
    expect(refusal({ dims: dims(3) })).toMatch(/no data/);
    const source = { field: "rawData", range: memoryRange(new Uint8Array(12)) } as const;
    expect(refusal({ dims: dims(4), source })).toMatch(/16 bytes, but has 12/);
  });

  it("fault 13 is found when a model is read", () => {
    const broken = tensor({ dims: dims(2), rawData: new Uint8Array(4) });
    const bytes = encodeMessage("ModelProto", {
      ...createMessage("ModelProto", { irVersion: Long.ONE }),
      graph: createMessage("GraphProto", { initializer: [broken] }),
    });
    expect(() => decodeModel(bytes)).toThrow(TensorError);
  });

  it("fault 14: values in two fields", () => {
    expect(refusal({ dims: dims(1), rawData: new Uint8Array(4), floatData: [1] })).toMatch(
      /values in floatData and in rawData/,
    );
    expect(refusal({ dims: dims(1), rawData: new Uint8Array(4), dataLocation: 1 })).toMatch(
      /rawData and in externalData/,
    );
  });

  it("values in a field of another type, and unknown types", () => {
    expect(refusal({ dims: dims(1), doubleData: [1] })).toMatch(/doubleData instead of floatData/);
    expect(refusal({ dims: dims(1), dataType: 0, rawData: new Uint8Array(4) })).toMatch(/no element type/);
    expect(refusal({ dims: dims(1), dataType: 77, rawData: new Uint8Array(4) })).toMatch(/element type 77 is unknown/);
    expect(() => checkTensor(tensor({ dims: dims(1), dataType: 77, rawData: new Uint8Array(5) }))).not.toThrow();
  });

  it("fault 16: strings", () => {
    const strings = tensor({ dims: dims(2), dataType: DataType.STRING, stringData: utf8("é", "") });
    expect(tensorStrings(strings)).toEqual({ dims: [2], data: ["é", ""] });
    expect(() => tensorValues(strings)).toThrow(/holds strings, but numbers are expected/);
    expect(() => tensorStrings(tensor({ dims: dims(1), floatData: [1] }))).toThrow(/strings are expected/);
    expect(refusal({ dims: dims(1), dataType: DataType.STRING, rawData: new Uint8Array(4) })).toMatch(/strings/);
    const latin1 = tensor({ dims: dims(1), dataType: DataType.STRING, stringData: [Uint8Array.of(0xe9)] });
    expect(() => tensorStrings(latin1)).toThrow(/not UTF-8/);
  });

  it("fault 17: no elements, and a scalar", () => {
    expect(tensorValues(tensor({ dims: dims(0, 768) }))).toEqual({
      dims: [0, 768],
      dataType: DataType.FLOAT,
      data: new Float32Array(0),
    });
    expect(tensorValues(tensor({ floatData: [2] })).data).toEqual(Float32Array.of(2));
    expect(refusal({ dims: dims(0), rawData: new Uint8Array(4) })).toMatch(/takes 0 bytes, but has 4/);
  });
});

describe("reading and making tensors", () => {
  it("reads unaligned bytes", () => {
    const buffer = new Uint8Array(9);
    new DataView(buffer.buffer).setFloat32(1, 1.5, true);
    new DataView(buffer.buffer).setFloat32(5, -2, true);
    expect(tensorValues(tensor({ dims: dims(2), rawData: buffer.subarray(1) })).data).toEqual(Float32Array.of(1.5, -2));
  });

  it("reads aligned bytes without copying, and those left in a file", () => {
    const floats = Float32Array.of(1, 2, 3);
    const raw = new Uint8Array(floats.buffer);
    expect(tensorValues(tensor({ dims: dims(3), rawData: raw })).data.buffer).toBe(floats.buffer);
    const source = { field: "floatData", range: memoryRange(raw) } as const;
    expect(tensorValues(tensor({ dims: dims(3), source })).data).toEqual(floats);
  });

  it("makes what it reads", () => {
    const cases: [number, Parameters<typeof makeTensor>[3]][] = [
      [DataType.FLOAT, Float32Array.of(1, -0, Number.NaN, Infinity, 5, 6)],
      [DataType.DOUBLE, Float64Array.of(1, 2, 3, 4, 5, 1e300)],
      [DataType.INT64, BigInt64Array.of(-1n, 2n, 3n, 4n, 5n, -(2n ** 63n))],
      [DataType.INT32, Int32Array.of(-1, 2, 3, 4, 5, 6)],
      [DataType.BOOL, Uint8Array.of(0, 1, 1, 0, 0, 1)],
      [DataType.INT4, Int8Array.of(-8, 7, 0, 1, -1, 2)],
      [DataType.INT2, Int8Array.of(-2, 1, 0, 1, -1, -2)],
      [DataType.FLOAT16, Float32Array.of(1, -0.5, 65504, Infinity, 2 ** -24, -(2 ** -14))],
      [DataType.BFLOAT16, Float32Array.of(1, -0.5, 2 ** 127, Infinity, 2 ** -133, 3)],
    ];
    for (const [dataType, data] of cases) {
      const made = makeTensor("w", [2, 3], dataType, data);
      const read = tensorValues(decodeMessage("TensorProto", encodeMessage("TensorProto", made)));
      expect(read).toEqual({ dims: [2, 3], dataType, data });
    }
  });

  it("rounds to half precision and bfloat16 to the nearest, ties to even", () => {
    const half = rounded.bind(null, DataType.FLOAT16);
    const brain = rounded.bind(null, DataType.BFLOAT16);
    expect(
      [1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, 3 * 2 ** -25, 2 ** -14 - 2 ** -26].map(half),
    ).toEqual([1, 1 + 2 ** -9, 65504, Infinity, 0, 2 ** -23, 2 ** -14]);
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, 3.4e38, -1e-3].map(brain)).toEqual([
      1,
      1 + 2 ** -6,
      Infinity,
      -0.00099945068359375,
    ]);
    expect(half(Number.NaN)).toBeNaN();
    expect(brain(Number.NaN)).toBeNaN();
  });

  it("refuses data that does not fit", () => {
    expect(() => makeTensor("w", [2], DataType.FLOAT, Float32Array.of(1))).toThrow(ArgumentError);
    expect(() => makeTensor("w", [1], DataType.FLOAT, Float64Array.of(1))).toThrow(/Float32Array for FLOAT/);
    expect(() => makeTensor("w", [1], DataType.STRING, Uint8Array.of(1))).toThrow(ArgumentError);
  });
});
