import { describe, expect, it } from "vitest";
import { DataType, memoryRange, readRange } from "@favor/onnx";
import { readSafetensors } from "../../src/formats/safetensors.ts";
import { readShards } from "../../src/formats/shards.ts";
import type { CheckpointError, CheckpointErrorCode } from "../../src/formats/errors.ts";
import type { StateDict } from "../../src/formats/state-dict.ts";
import { valuesOf } from "../builders/checkpoints.ts";
import { bytesOf, little } from "./archive.ts";
import { failure } from "./failure.ts";

function file(header: string, data = new Uint8Array(0)): Uint8Array {
  const text = new TextEncoder().encode(header);
  return bytesOf(little(text.length, 8), text, data);
}

const floats = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
const entry = (dtype: string, shape: number[], begin: number, end: number): string =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
const refused = (bytes: Uint8Array): CheckpointError =>
  failure(() => readSafetensors(memoryRange(bytes), "x.safetensors"));

describe("reads", () => {
  it("tensors as ranges, metadata and padding left aside", () => {
    const header = `{"__metadata__":{"format":"pt"},"b":${entry("F32", [2], 16, 24)},"a":${entry("F32", [2, 2], 0, 16)}}   `;
    const tensors = readSafetensors(memoryRange(file(header, floats)));
    expect([...tensors.keys()]).toEqual(["b", "a"]);
    expect(valuesOf(tensors.get("a")!)).toEqual([1, 2, 3, 4]);
    expect(valuesOf(tensors.get("b")!)).toEqual([5, 6]);
  });

  it("only the header, until values are wanted", () => {
    const bytes = file(`{"a":${entry("F32", [6], 0, 24)}}`, floats);
    const reads: number[] = [];
    const { readInto, length } = memoryRange(bytes);
    const counted = {
      length,
      readInto: (target: Uint8Array, offset: number) => (reads.push(offset), readInto(target, offset)),
    };
    const tensors = readSafetensors(counted);
    expect(reads).toEqual([0, 8]);
    expect(readRange(tensors.get("a")!.range)).toEqual(floats);
    expect(reads).toEqual([0, 8, bytes.length - 24]);
  });

  it("every type, scalars and empty tensors", () => {
    const types: [string, number, number][] = [
      ["BOOL", DataType.BOOL, 1],
      ["U8", DataType.UINT8, 1],
      ["I16", DataType.INT16, 2],
      ["F16", DataType.FLOAT16, 2],
      ["BF16", DataType.BFLOAT16, 2],
      ["F8_E4M3", DataType.FLOAT8E4M3FN, 1],
      ["F64", DataType.DOUBLE, 8],
      ["C64", DataType.COMPLEX64, 8],
      ["U64", DataType.UINT64, 8],
    ];
    for (const [name, dataType, width] of types) {
      const header = `{"none":${entry(name, [0, 3], 0, 0)},"one":${entry(name, [], 0, width)}}`;
      const tensors = readSafetensors(memoryRange(file(header, new Uint8Array(width))));
      expect([tensors.get("one")!.dataType, tensors.get("one")!.dims]).toEqual([dataType, []]);
      expect(tensors.get("none")!.range.length).toBe(0);
    }
  });

  it("a file of no tensors", () => {
    expect(readSafetensors(memoryRange(file("{}"))).size).toBe(0);
  });
});

describe("refuses", () => {
  const f32 = (shape: number[], begin: number, end: number): string => entry("F32", shape, begin, end);
  it.each<[string, Uint8Array, CheckpointErrorCode, string]>([
    ["seven bytes", new Uint8Array(7), "truncated", "7 bytes"],
    ["a header over 100 MB", bytesOf(little(100_000_001, 8), "{}"), "limit-exceeded", "100000001"],
    ["a header of 2^63", bytesOf(little(2n ** 63n, 8), "{}"), "limit-exceeded", "9223372036854775808"],
    ["a header beyond the file", bytesOf(little(3, 8), "{}"), "truncated", "3 bytes"],
    ["another start than {", file(" {}"), "malformed", "no JSON object"],
    ["no JSON", file("{"), "malformed", "not JSON"],
    ["no UTF-8", bytesOf(little(5, 8), "{", 0x22, 0xff, 0x22, "}"), "malformed", "not JSON"],
    ["a list", file("[]"), "malformed", "no JSON object"],
    [
      "a key twice",
      file(`{"a":${f32([1], 0, 4)},"a":${f32([1], 0, 4)}}`, floats.slice(0, 4)),
      "malformed",
      '"a" twice',
    ],
    [
      "a key twice, spelt differently",
      file(`{"a":${f32([1], 0, 4)},"\\u0061":${f32([1], 0, 4)}}`, floats.slice(0, 4)),
      "malformed",
      '"a" twice',
    ],
    [
      "a field twice",
      file(`{"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, floats.slice(0, 4)),
      "malformed",
      '"dtype" twice',
    ],
    [
      "an unknown field",
      file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}`, floats.slice(0, 4)),
      "malformed",
      '"x"',
    ],
    ["metadata of numbers", file('{"__metadata__":{"a":1}}'), "malformed", "__metadata__"],
    ["a gap", file(`{"a":${f32([1], 0, 4)},"b":${f32([1], 8, 12)}}`, floats.slice(0, 12)), "malformed", "gap of 4"],
    ["a gap at the start", file(`{"a":${f32([1], 4, 8)}}`, floats.slice(0, 8)), "malformed", "gap of 4"],
    [
      "an overlap",
      file(`{"a":${f32([2], 0, 8)},"b":${f32([2], 4, 12)}}`, floats.slice(0, 12)),
      "malformed",
      "overlaps",
    ],
    [
      "two tensors in one place",
      file(`{"a":${f32([1], 0, 4)},"b":${f32([1], 0, 4)}}`, floats.slice(0, 4)),
      "malformed",
      "overlaps",
    ],
    ["bytes after the last tensor", file(`{"a":${f32([1], 0, 4)}}`, floats), "malformed", "24"],
    ["offsets beyond the file", file(`{"a":${f32([7], 0, 28)}}`, floats), "malformed", "incomplete or damaged"],
    ["offsets the wrong way", file(`{"a":${f32([0], 4, 0)}}`, floats), "malformed", "4 to 0"],
    ["a negative offset", file(`{"a":${f32([1], -4, 0)}}`, floats), "malformed", "data_offsets"],
    ["an offset that is no integer", file(`{"a":${f32([1], 0, 4.5)}}`, floats), "malformed", "data_offsets"],
    ["another size", file(`{"a":${f32([5], 0, 24)}}`, floats), "malformed", "takes 20 bytes"],
    ["a negative dimension", file(`{"a":${f32([-6], 0, 24)}}`, floats), "malformed", "shape"],
    ["a product that overflows", file(`{"a":${f32([2 ** 33, 2 ** 33], 0, 24)}}`, floats), "malformed", "beyond 2^53"],
    [
      "a product that overflows to the size",
      file(`{"a":${f32([2 ** 32, 2 ** 32, 6], 0, 24)}}`, floats),
      "malformed",
      "beyond 2^53",
    ],
    ["an unknown type", file(`{"a":${entry("F3", [1], 0, 4)}}`, floats), "unsupported-type", '"F3"'],
    [
      "a type that ONNX packs otherwise",
      file(`{"a":${entry("F6_E2M3", [32], 0, 24)}}`, floats),
      "unsupported-type",
      "F6_E2M3",
    ],
  ])("%s", (_, bytes, code, says) => {
    const error = refused(bytes);
    expect(error.code).toBe(code);
    expect(error.message).toContain(says);
    expect(error.message).toContain("x.safetensors");
  });

  it("names that are JavaScript's own are names like others", () => {
    const header = `{"__proto__":${f32([1], 0, 4)},"constructor":${f32([1], 4, 8)}}`;
    const tensors = readSafetensors(memoryRange(file(header, floats.slice(0, 8))));
    expect([...tensors.keys()]).toEqual(["__proto__", "constructor"]);
  });
});

describe("shards", () => {
  const one = file(`{"a":${entry("F32", [2], 0, 8)}}`, floats.slice(0, 8));
  const two = file(`{"b":${entry("F32", [1], 0, 4)},"a":${entry("F32", [2], 4, 12)}}`, floats.slice(0, 12));
  const files = new Map([
    ["model-00001-of-00002.safetensors", one],
    ["model-00002-of-00002.safetensors", two],
  ]);
  const [first, second] = [...files.keys()] as [string, string];
  const read = (map: unknown): StateDict =>
    readShards({ metadata: {}, weight_map: map }, (name) => memoryRange(files.get(name)!), readSafetensors);

  it("each tensor comes from the file that the index says", () => {
    const tensors = read({ a: first, b: second });
    expect(valuesOf(tensors.get("a")!)).toEqual([1, 2]);
    expect(valuesOf(read({ a: second, b: second }).get("a")!)).toEqual([2, 3]);
  });

  it("a tensor that is elsewhere comes from the only file that has it", () => {
    expect(valuesOf(read({ a: first, b: first, c: second }).get("b")!)).toEqual([1]);
  });

  it("a tensor that the index does not know is taken all the same", () => {
    expect(valuesOf(read({ a: second }).get("b")!)).toEqual([1]);
  });

  it("a tensor that no file has is left out: a model may do without it", () => {
    expect([...read({ a: first, tied: second, b: second }).keys()].toSorted()).toEqual(["a", "b"]);
  });

  it("refuses a tensor that two files hold with different values, if the index names neither", () => {
    const error = failure(() => read({ b: second, x: first }));
    expect([error.code, error.details["files"]]).toEqual(["malformed", [second, first]]);
  });

  it.each([
    "../model.safetensors",
    "/etc/passwd",
    "a/b.safetensors",
    "a\\b.safetensors",
    "C:model.safetensors",
    ".hidden.safetensors",
    "con.safetensors",
    "model.onnx",
    "model.safetensors\0.bin",
    "model.safetensors ",
    "",
    7,
    null,
  ])("a file called %j is refused", (name) => {
    const opened: string[] = [];
    const error = failure(() =>
      readShards({ weight_map: { a: name } }, (asked) => (opened.push(asked), memoryRange(one)), readSafetensors),
    );
    expect(error.code).toBe("malformed");
    expect(opened).toEqual([]);
  });

  it.each([undefined, [], {}, { weight_map: [] }])("an index that is none is refused: %j", (index) => {
    expect(failure(() => readShards(index, () => memoryRange(one), readSafetensors)).code).toBe("malformed");
  });
});
