import { existsSync, readFileSync, readdirSync } from "node:fs";
import Long from "long";
import { describe, expect, it } from "vitest";
import { createMessage } from "../../src/model/schema.ts";
import { decodeMessage, decodeModel } from "../../src/model/decode.ts";
import { encodeMessage, encodeModel, encodeModelPieces } from "../../src/model/encode.ts";
import { memoryRange } from "../../src/model/byte-range.ts";
import { modelTensors } from "../../src/model/walk.ts";
import { AttributeType } from "../../src/model/proto.ts";
import type { ModelProto } from "../../src/model/proto.ts";
import { shared } from "@favor/test-support/shared-folder";

const fixture = (name: string): Uint8Array => readFileSync(new URL(`fixtures/${name}`, import.meta.url));

const models = existsSync(shared)
  ? [
      ...readdirSync(new URL("zoo/", shared))
        .filter((name) => name.endsWith(".onnx"))
        .map((name) => `zoo/${name}`),
      "models/antiberty/model.onnx",
      "models/tiny-antibody/onnx/model.onnx",
    ]
  : [];

/** Compared as hashes of content, not element by element, which vitest does slowly for large arrays. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

describe.skipIf(models.length === 0)("real models (needs ../shared)", () => {
  it("are encoded to the bytes that they were decoded from", () => {
    const changed = models.filter((path) => {
      const bytes = readFileSync(new URL(path, shared));
      return !same(encodeModel(decodeModel(bytes)), bytes);
    });
    expect(changed).toEqual([]);
    expect(models.length).toBe(185);
  });

  it("are read from a range as from memory", () => {
    const changed = models.filter((path) => {
      const bytes = readFileSync(new URL(path, shared));
      const model = decodeModel(memoryRange(bytes));
      return !same(Buffer.concat([...encodeModelPieces(model)]), bytes);
    });
    expect(changed).toEqual([]);
  });

  it("keep weights as views on the file", () => {
    const bytes = readFileSync(new URL("models/antiberty/model.onnx", shared));
    const weights = modelTensors(decodeModel(bytes)).filter((tensor) => tensor.rawData.length > 1e6);
    expect(weights.length).toBeGreaterThan(10);
    expect(weights.every((tensor) => tensor.rawData.buffer === bytes.buffer)).toBe(true);
  });
});

/** The JSON form that protobuf defines: 64-bit integers as decimal strings, bytes in base64, defaults left out. */
function protobufJson(value: unknown): unknown {
  if (Long.isLong(value)) return value.toString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  if (Array.isArray(value)) return value.map(protobufJson);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(
    ([, field]) =>
      field !== null &&
      field !== "" &&
      field !== 0 &&
      !(Array.isArray(field) && field.length === 0) &&
      !(field instanceof Uint8Array && field.length === 0) &&
      !(Long.isLong(field) && field.isZero()),
  );
  return Object.fromEntries(entries.map(([key, field]) => [key, protobufJson(field)]));
}

const everyField = fixture("every-field.onnx");

describe("a model with every field of the schema, made by Python's onnx", () => {
  it("is read as protobuf reads it", () => {
    const expected = JSON.parse(new TextDecoder().decode(fixture("every-field.json"))) as unknown;
    expect(protobufJson(decodeMessage("ModelProto", everyField))).toEqual(expected);
  });

  it("is encoded to the same bytes", () => {
    expect(same(encodeMessage("ModelProto", decodeMessage("ModelProto", everyField)), everyField)).toBe(true);
  });

  it("has no field that the schema does not know", () => {
    const unknown: string[] = [];
    const visit = (value: unknown, path: string): void => {
      if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return;
      if (
        Object.getOwnPropertySymbols(value).some((symbol) => symbol.description?.includes("unknownFields") === true)
      ) {
        unknown.push(path);
      }
      for (const [key, child] of Object.entries(value)) visit(child, `${path}.${key}`);
    };
    visit(decodeMessage("ModelProto", everyField), "model");
    expect(unknown).toEqual([]);
  });
});

function smallModel(): ModelProto {
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", { name: "g" }),
  });
}

describe("what is written", () => {
  it("leaves out what is absent or a default", () => {
    // 08 08: ir_version 8; 3a 03 12 01 67: graph { name "g" }; 42 02 10 11: opset_import { version 17 }
    expect([...encodeModel(smallModel())]).toEqual([8, 8, 0x3a, 3, 0x12, 1, 0x67, 0x42, 2, 0x10, 17]);
  });

  it("has a default that the file had", () => {
    // 32 00: doc_string ""
    const bytes = Uint8Array.from([8, 8, 0x32, 0, 0x3a, 3, 0x12, 1, 0x67, 0x42, 2, 0x10, 17]);
    expect([...encodeModel(decodeModel(bytes))]).toEqual([...bytes]);
    const copy = { ...decodeModel(bytes), producerName: "favor" };
    expect([...encodeModel(copy)]).toEqual([8, 8, 0x12, 5, ...Buffer.from("favor"), ...bytes.subarray(2)]);
  });

  it("has the value that an attribute's type names, 0 or not, and no other", () => {
    const zero = createMessage("AttributeProto", { name: "axis", type: AttributeType.INT });
    const decoded = decodeMessage("AttributeProto", encodeMessage("AttributeProto", zero));
    expect([...encodeMessage("AttributeProto", zero)]).toEqual([0x0a, 4, ...Buffer.from("axis"), 0x18, 0, 0xa0, 1, 2]);
    expect(encodeMessage("AttributeProto", decoded)).toEqual(encodeMessage("AttributeProto", zero));
    decoded.i = Long.NEG_ONE;
    expect(decodeMessage("AttributeProto", encodeMessage("AttributeProto", decoded)).i.toNumber()).toBe(-1);
    decoded.i = Long.ZERO;
    expect(encodeMessage("AttributeProto", decoded)).toEqual(encodeMessage("AttributeProto", zero));
  });

  it("reads and keeps packed and unpacked numbers alike", () => {
    // dims, which ONNX does not pack: once as [2, 3] packed, once as 4
    const tensor = decodeMessage("TensorProto", Uint8Array.from([0x0a, 2, 2, 3, 0x08, 4, 0x10, 1]));
    expect(tensor.dims.map(Number)).toEqual([2, 3, 4]);
    // float_data, which ONNX packs, unpacked
    const floats = decodeMessage("TensorProto", Uint8Array.from([0x25, 0, 0, 0x80, 0x3f, 0x25, 0, 0, 0, 0x40]));
    expect(floats.floatData).toEqual([1, 2]);
  });

  it("merges a message that occurs twice, and takes the last of a oneof, as protobuf does", () => {
    const twice = Uint8Array.from([8, 8, 0x3a, 3, 0x12, 1, 0x67, 0x42, 2, 0x10, 17, 0x3a, 3, 0x52, 1, 0x64]);
    const { graph } = decodeModel(twice);
    expect([graph.name, graph.docString]).toEqual(["g", "d"]);
    const dimension = decodeMessage("DimensionProto", Uint8Array.from([0x08, 5, 0x12, 1, 0x6e]));
    expect([dimension.dimValue, dimension.dimParam]).toEqual([undefined, "n"]);
  });

  it("is the same from a source whose fields are out of order", () => {
    const sorted = encodeModel(smallModel());
    const shuffled = Uint8Array.from([...sorted.subarray(7), ...sorted.subarray(2, 7), ...sorted.subarray(0, 2)]);
    expect(encodeModel(decodeModel(shuffled))).toEqual(sorted);
    expect(decodeModel(shuffled)).toEqual(decodeModel(sorted));
  });
});
