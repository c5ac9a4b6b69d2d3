import { existsSync, readFileSync, readdirSync } from "node:fs";
import Long from "long";
import { describe, expect, it } from "vitest";
import { decodeModel } from "../../src/model/decode.ts";
import { encodeModel } from "../../src/model/encode.ts";
import { fromOnnxProto, toOnnxProto } from "../../src/model/interop.ts";
import { memoryRange } from "../../src/model/byte-range.ts";
import { shared } from "@favor/test-support/shared-folder";

// Under vitest's resolve conditions the `require("long")` in onnx-proto's protobufjs gives an ES module; this goes first.
Object.assign(globalThis, { Long });
const { onnx } = await import("onnx-proto");
const zoo = new URL("zoo/", shared);
const tensors = readFileSync(new URL("fixtures/tensors.onnx", import.meta.url));

function bytes(model: InstanceType<typeof onnx.ModelProto>): Uint8Array {
  return new Uint8Array(onnx.ModelProto.encode(model).finish());
}

describe("onnx-proto", () => {
  it("takes our models, and gives them", () => {
    const wanted = bytes(onnx.ModelProto.decode(tensors));
    // float_data that was left in its file is read
    for (const source of [tensors, memoryRange(tensors)]) {
      const theirs = toOnnxProto(decodeModel(source), onnx.ModelProto);
      expect(theirs).toBeInstanceOf(onnx.ModelProto);
      expect(theirs.graph?.initializer?.[0]).toBeInstanceOf(onnx.TensorProto);
      expect(bytes(theirs)).toEqual(wanted);
      expect(bytes(toOnnxProto(fromOnnxProto(theirs), onnx.ModelProto))).toEqual(wanted);
    }
  });

  it("packs every repeated number; such a file is written again as it was", () => {
    const packed = bytes(onnx.ModelProto.decode(tensors));
    expect(packed).not.toEqual(new Uint8Array(tensors));
    expect(encodeModel(decodeModel(packed))).toEqual(packed);
  });

  it("plain objects with numbers for int64 are taken", () => {
    const model = fromOnnxProto({
      irVersion: 8,
      opsetImport: [{ version: 17 }],
      graph: { node: [{ opType: "Relu", input: ["x"], output: ["y"] }], name: "g" },
    });
    expect(onnx.ModelProto.decode(encodeModel(model)).graph?.node?.[0]?.opType).toBe("Relu");
    expect(model.opsetImport[0]!.version.toNumber()).toBe(17);
  });

  it.skipIf(!existsSync(zoo))("reads our files of the zoo, and the other way round (needs ../shared)", () => {
    const names = readdirSync(zoo).filter((name) => name.endsWith(".onnx"));
    const different = names.filter((name) => {
      const theirs = onnx.ModelProto.decode(encodeModel(decodeModel(readFileSync(new URL(name, zoo)))));
      const written = bytes(theirs);
      const same = (other: Uint8Array): boolean => Buffer.compare(other, written) === 0;
      return (
        !same(encodeModel(decodeModel(written))) || !same(bytes(toOnnxProto(fromOnnxProto(theirs), onnx.ModelProto)))
      );
    });
    expect(different).toEqual([]);
    expect(names.length).toBe(183);
  });
});
