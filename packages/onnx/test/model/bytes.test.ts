import Long from "long";
import { Writer } from "protobufjs/minimal.js";
import { describe, expect, it } from "vitest";
import { DataType } from "../../src/model/proto.ts";
import { ModelFormatError, OnnxError } from "../../src/model/errors.ts";
import { createMessage } from "../../src/model/schema.ts";
import { decodeMessage, decodeModel } from "../../src/model/decode.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { makeTensor, tensorValues } from "../../src/model/tensor.ts";
import { memoryRange } from "../../src/model/byte-range.ts";
import type { ByteRange } from "../../src/model/byte-range.ts";
import type { DecodeLimits } from "../../src/model/limits.ts";
import type { ModelProto, OperatorSetIdProto } from "../../src/model/proto.ts";

const text = (string: string): Uint8Array => new TextEncoder().encode(string);

const hex = (digits: string): Uint8Array => new Uint8Array(Buffer.from(digits.replaceAll(" ", ""), "hex"));

/** y = x w, with a weight that is long enough to stay in a file. */
function smallModel(): ModelProto {
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    producerName: "favor",
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: createMessage("GraphProto", {
      name: "g",
      node: [createMessage("NodeProto", { opType: "MatMul", input: ["x", "w"], output: ["y"], name: "n" })],
      initializer: [makeTensor("w", [20, 20], DataType.FLOAT, new Float32Array(400).fill(0.5))],
    }),
  });
}

/** Code and message of the error that both ways of reading throw. */
function refusal(bytes: Uint8Array, limits?: Partial<DecodeLimits>): string {
  const [fromMemory, fromRange] = [bytes, memoryRange(bytes)].map((source) => {
    try {
      decodeModel(source, limits);
    } catch (error) {
      return error as ModelFormatError;
    }
    throw new Error("the model was not refused");
  });
  expect(fromMemory).toBeInstanceOf(ModelFormatError);
  expect(fromRange?.code).toBe(fromMemory?.code);
  return `${fromMemory!.code}: ${fromMemory!.message}`;
}

/** A model made of `small`'s bytes and fields written by hand. */
function withField(write: (writer: Writer) => unknown): Uint8Array {
  const writer = new Writer();
  write(writer);
  return Uint8Array.from([...encodeModel(smallModel()), ...writer.finish()]);
}

/** A model with graphs in attributes of nodes of graphs, `depth` times. */
function nested(depth: number): Uint8Array {
  // From the inside out: AttributeProto.g, NodeProto.attribute, GraphProto.node
  const prefixes: Uint8Array[] = [];
  let length = 0;
  for (let level = 0; level < depth; level++) {
    for (const field of [6, 5, 1]) {
      const prefix = new Writer()
        .uint32((field << 3) | 2)
        .uint32(length)
        .finish();
      prefixes.push(prefix);
      length += prefix.length;
    }
  }
  return withField((writer) => {
    writer.uint32((7 << 3) | 2).uint32(length);
    for (const prefix of prefixes.toReversed()) writer.raw(prefix);
  });
}

/** A model in which the length of `producer_name` is the given bytes. */
function huge(length: readonly number[]): Uint8Array {
  return withField((writer) => writer.uint32((2 << 3) | 2).raw(Uint8Array.from(length)));
}

/** A file of that many bytes that takes no space. */
function large(length: number): ByteRange {
  return { length, readInto: (target) => void target.fill(8) };
}

function opset(domain: string, version: number): OperatorSetIdProto {
  return createMessage("OperatorSetIdProto", { domain, version: Long.fromNumber(version) });
}

describe("bytes that are no model", () => {
  it("fault 1: an empty file", () => {
    expect(refusal(new Uint8Array(0))).toMatch(/^empty-file: .*0 bytes.*again/);
  });

  it("fault 2: truncated at every byte", () => {
    const bytes = encodeModel(smallModel());
    for (let length = 1; length < bytes.length; length++) {
      for (const source of [bytes.subarray(0, length), memoryRange(bytes.subarray(0, length))]) {
        expect(() => decodeModel(source), `${length} bytes`).toThrow(OnnxError);
      }
    }
    expect(refusal(bytes.subarray(0, 1000))).toMatch(
      /^truncated: .*ends after 1000 bytes.*Download or export it again/,
    );
  });

  it("fault 3: HTML and JSON pages", () => {
    expect(refusal(text("<!DOCTYPE html><html><body>404</body></html>"))).toMatch(/^html-page: /);
    expect(refusal(text("\n  <HTML><head>"))).toMatch(/^html-page: /);
    expect(refusal(text("\ufeff<?xml version='1.0'?><Error/>"))).toMatch(/^html-page: /);
    expect(refusal(text('{"error":"Repository not found"}'))).toMatch(/^json-page: /);
    expect(refusal(text('[\n  {"type": "file"}]'))).toMatch(/^json-page: /);
  });

  it("fault 4: a git-LFS pointer", () => {
    const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n";
    expect(refusal(text(pointer))).toMatch(/^git-lfs-pointer: .*git lfs pull/);
  });

  it("other formats, by name", () => {
    expect(refusal(Uint8Array.of(0x50, 0x4b, 3, 4, 20, 0))).toMatch(/^other-format: .*PyTorch/);
    expect(refusal(Uint8Array.of(0x1f, 0x8b, 8, 0))).toMatch(/^other-format: .*gzip/);
    const safetensors = Uint8Array.from([16, 0, 0, 0, 0, 0, 0, 0, ...text('{"a":{"dtype":')]);
    expect(refusal(safetensors)).toMatch(/^other-format: .*safetensors/);
    expect(refusal(text("hello world, this is text"))).toMatch(/^malformed: /);
  });
});

describe("wire format", () => {
  it("fault 5: a varint of more than ten bytes", () => {
    expect(refusal(Uint8Array.from([8, ...Array<number>(10).fill(0x80), 1]))).toMatch(/^malformed: /);
    expect(refusal(withField((writer) => writer.uint32((999 << 3) | 0).raw(new Uint8Array(11).fill(0x80))))).toMatch(
      /^malformed: /,
    );
    expect(refusal(Uint8Array.from(Array<number>(12).fill(0xff)))).toMatch(/^malformed: /);
  });

  it("reads 64-bit varints exactly", () => {
    for (const value of [
      "0",
      "-1",
      "127",
      "128",
      "268435455",
      "268435456",
      "9223372036854775807",
      "-9223372036854775808",
      "34359738367",
      "34359738368",
    ]) {
      const written = new Writer()
        .uint32((2 << 3) | 0)
        .int64(Long.fromString(value))
        .finish();
      expect(decodeMessage("OperatorSetIdProto", written).version.toString()).toBe(value);
    }
  });

  it("fault 6: a known field with another wire type", () => {
    const graphAsNumber = withField((writer) => writer.uint32((7 << 3) | 0).uint32(5));
    expect(refusal(graphAsNumber)).toMatch(/^malformed: .*ModelProto\.graph at byte \d+ has wire type 0/);
    expect(refusal(withField((writer) => writer.uint32((1 << 3) | 2).string("8")))).toMatch(/^malformed: /);
  });

  it("fault 7: groups, 10^5 deep", () => {
    const groups = new Writer();
    for (let depth = 0; depth < 100_000; depth++) groups.uint32((1000 << 3) | 3);
    expect(refusal(withField((writer) => writer.raw(groups.finish())))).toMatch(/^malformed: /);
  });

  it("fault 7: graphs in graphs, 10^5 deep, and within the limit", () => {
    expect(refusal(nested(100_000))).toMatch(/^limit-exceeded: .*maxDepth/);
    expect(decodeModel(nested(30)).graph.node.length).toBe(2);
    expect(refusal(nested(3), { maxDepth: 5 })).toMatch(/^limit-exceeded: /);
  });

  it("fault 8: a length past the end, of the file or of the message around it", () => {
    expect(refusal(withField((writer) => writer.uint32((2 << 3) | 2).uint32(1000)))).toMatch(/^truncated: /);
    // opset_import of 4 bytes, whose domain claims 100
    const inner = withField((writer) =>
      writer
        .uint32((8 << 3) | 2)
        .uint32(4)
        .raw(Uint8Array.of(10, 100, 0, 0))
        .raw(new Uint8Array(200)),
    );
    expect(refusal(inner)).toMatch(/^malformed: .*longer than the message around it/);
    // a number that runs past its message
    expect(
      refusal(
        withField((writer) =>
          writer
            .uint32((8 << 3) | 2)
            .uint32(2)
            .raw(Uint8Array.of(0x10, 0x80, 1)),
        ),
      ),
    ).toMatch(/^malformed: /);
  });

  it("fault 9: a length of 2^31 and more", () => {
    expect(refusal(huge([0x80, 0x80, 0x80, 0x80, 8, 0]))).toMatch(/^malformed: .*2 GiB/);
    expect(refusal(huge([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]))).toMatch(/^malformed: /);
    expect(refusal(huge([0xff, 0xff, 0xff, 0xff, 7]))).toMatch(/^truncated: /);
  });

  it("fault 10: unknown fields are kept to the byte, at every level, in their place", () => {
    // GraphProto with fields 3 (bytes) and 4 (32 bits), as no writer after 2017 has, and 1000, a varint that is longer
    // than it need be; ModelProto with fields 15 and 1000.
    const graph = "1201 67 1a02 0102 25 01020304 5200 c03e 8100";
    const bytes = hex(`0808 3a12 ${graph} 4202 1011 7a03 aabbcc c13e ffffffffffffff7f`);
    for (const source of [bytes, memoryRange(bytes)]) {
      const model = decodeModel(source);
      expect(model.graph.name).toBe("g");
      expect(encodeModel(model)).toEqual(bytes);
      expect(encodeModel({ ...model, graph: { ...model.graph, name: "" } })).toEqual(
        hex("0808 3a11 1200 1a02 0102 25 01020304 5200 c03e 8100 4202 1011 7a03 aabbcc c13e ffffffffffffff7f"),
      );
    }
  });
});

describe("sizes and limits", () => {
  it("fault 18, 19: 2 GiB and more", () => {
    for (const length of [2 ** 31, 5 * 2 ** 30]) {
      expect(() => decodeModel(large(length))).toThrow(/external data/);
    }
    expect(() => decodeModel(large(2 ** 31))).toThrow(expect.objectContaining({ code: "limit-exceeded" }));

    const model = smallModel();
    model.graph.initializer[0]!.source = { field: "rawData", range: large(2 ** 31) };
    expect(() => encodeModel(model)).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
  });

  it("a file of empty messages is refused before it fills the memory", () => {
    const nodes = new Uint8Array(200_000).fill(0).map((_, index) => (index % 2 === 0 ? 0x0a : 0));
    const bytes = withField((writer) => writer.uint32((7 << 3) | 2).bytes(nodes));
    expect(refusal(bytes, { maxObjects: 50_000 })).toMatch(/^limit-exceeded: .*50001 messages.*maxObjects/);
    expect(decodeModel(bytes).graph.node.length).toBe(100_001);
  });

  it("numbers and fields have their limits too", () => {
    const bytes = withField((writer) => writer.uint32((6 << 3) | 2).string("x".repeat(3000)));
    expect(refusal(bytes, { maxFieldBytes: 2000 })).toMatch(/^limit-exceeded: /);
    expect(refusal(bytes, { maxBytes: 2000 })).toMatch(/^limit-exceeded: /);
    const floats = new Writer()
      .uint32((4 << 3) | 2)
      .bytes(new Uint8Array(4000))
      .finish();
    expect(() => decodeMessage("TensorProto", floats, { maxNumbers: 999 })).toThrow(/maxNumbers/);
    expect(decodeMessage("TensorProto", floats, { maxNumbers: 1000 }).floatData.length).toBe(1000);
  });
});

describe("versions and names", () => {
  it("fault 20: the newest IR version, an unknown operator set version, an unknown IR version", () => {
    const model = smallModel();
    model.irVersion = Long.fromNumber(14);
    model.opsetImport[0]!.version = Long.fromNumber(99);
    expect(decodeModel(encodeModel(model)).opsetImport[0]!.version.toNumber()).toBe(99);
    for (const version of [Long.fromNumber(15), Long.MAX_VALUE]) {
      model.irVersion = version;
      expect(refusal(encodeModel(model))).toMatch(new RegExp(`^unsupported-version: .* ${version};`));
    }
    model.irVersion = Long.NEG_ONE;
    expect(refusal(encodeModel(model))).toMatch(/^truncated: /);
  });

  it("fault 21: an operator set imported in two versions", () => {
    const model = smallModel();
    model.opsetImport.push(opset("ai.onnx", 18));
    expect(refusal(encodeModel(model))).toMatch(/^malformed: .*"ai.onnx" twice, in version 17 and in version 18/);
    model.opsetImport[1] = opset("ai.onnx", 17);
    model.opsetImport.push(opset("com.microsoft", 1));
    expect(decodeModel(encodeModel(model)).opsetImport.length).toBe(3);
  });

  it("fault 22: __proto__ and constructor as keys and names", () => {
    const model = smallModel();
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty"];
    model.metadataProps = names.map((key) => createMessage("StringStringEntryProto", { key, value: "polluted" }));
    model.graph.node.push(
      ...names.map((name) =>
        createMessage("NodeProto", {
          name,
          opType: name,
          input: [name],
          output: [name],
          attribute: [createMessage("AttributeProto", { name, type: 2 })],
        }),
      ),
    );
    const bytes = encodeModel(model);
    const decoded = decodeModel(bytes);
    expect(decoded.metadataProps.map(({ key }) => key)).toEqual(names);
    expect(decoded.graph.node.slice(1).map((node) => node.attribute[0]!.name)).toEqual(names);
    expect(encodeModel(decoded)).toEqual(bytes);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it("fault 23: a name that is not UTF-8", () => {
    const bytes = withField((writer) => writer.uint32((2 << 3) | 2).bytes(Uint8Array.of(0xc3, 0x28)));
    expect(refusal(bytes)).toMatch(/^malformed: .*producerName at byte \d+ is not UTF-8/);
  });
});

describe("reading from a range", () => {
  it("leaves long values where they are", () => {
    const bytes = encodeModel(smallModel());
    const [weight] = decodeModel(memoryRange(bytes)).graph.initializer;
    expect(weight!.rawData.length).toBe(0);
    expect(weight!.source!.range.length).toBe(1600);
    expect(tensorValues(weight!).data).toEqual(new Float32Array(400).fill(0.5));
  });

  it("leaves float_data where it is, and writes it back", () => {
    const model = smallModel();
    const [weight] = model.graph.initializer;
    weight!.rawData = new Uint8Array(0);
    weight!.floatData = Array<number>(400).fill(0.25);
    const bytes = encodeModel(model);
    const read = decodeModel(memoryRange(bytes));
    expect(read.graph.initializer[0]!.floatData).toEqual([]);
    expect(tensorValues(read.graph.initializer[0]!).data).toEqual(new Float32Array(400).fill(0.25));
    expect(encodeModel(read)).toEqual(bytes);
  });

  it("crosses windows of 1 MiB anywhere", () => {
    const model = smallModel();
    model.graph.node = Array.from({ length: 60_000 }, (_, index) =>
      createMessage("NodeProto", {
        opType: "Add",
        name: `/layer/${index}/Add`,
        input: [`${index}`],
        output: ["y".repeat(index % 40)],
      }),
    );
    model.docString = "d".repeat(2_500_000);
    const bytes = encodeModel(model);
    expect(bytes.length).toBeGreaterThan(4_000_000);
    expect(Buffer.compare(encodeModel(decodeModel(memoryRange(bytes))), bytes)).toBe(0);
  });
});

/** Calls it as plain JavaScript may. */
const decoding = (value: unknown) => () => Reflect.apply(decodeModel, undefined, [value]);

it("says what to pass instead of a path, or of a buffer that is no array of bytes", () => {
  expect(decoding("model.onnx")).toThrow(/^bytes: expected the bytes of a model, not a path \(.*openModel.*readFile/);
  expect(decoding(new ArrayBuffer(4))).toThrow(/pass new Uint8Array\(buffer\)/);
  for (const value of [undefined, null, {}, 3]) {
    expect(decoding(value)).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  }
});
