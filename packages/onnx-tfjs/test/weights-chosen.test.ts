import { ArgumentError } from "@favor/core";
import { createMessage, DataType, encodeModel, ExternalDataError } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, it } from "vitest";
import { OnnxModel, type Consumer, type LoadOptions } from "../src/index.ts";
import { floats, graph, info, model, node, noise } from "./graphs.ts";

const { FLOAT, BOOL } = DataType;

beforeAll(() => tf.setBackend("cpu"));

const named = (name: string, made: ReturnType<typeof node>) => ({ ...made, name });

/** Two products and a sum with names as exporters give them, and a weight that only a branch reads. */
const exported = model({
  inputs: [info("x", FLOAT, ["n", 2]), info("flag", BOOL, [])],
  outputs: [info("y", FLOAT, ["n", 2])],
  initializers: ["onnx::MatMul_12", "onnx::MatMul_15", "onnx::Mul_3", "spare"].map((name, i) =>
    floats(name, [2, 2], noise(4, i + 1)),
  ),
  nodes: [
    named("/encoder/layer.0/query/MatMul", node("MatMul", ["x", "onnx::MatMul_12"], ["q"])),
    named("/encoder/layer.0/key/MatMul", node("MatMul", ["x", "onnx::MatMul_15"], ["k"])),
    named("/tied/Gemm", node("Gemm", ["q", "onnx::MatMul_15", "k"], ["s"])),
    node("If", ["flag"], ["y"], {
      then_branch: graph({
        nodes: [named("scaled", node("Mul", ["onnx::Mul_3", "onnx::Mul_3"], ["then"]))],
        outputs: [info("then", FLOAT)],
      }),
      else_branch: graph({ nodes: [node("Identity", ["s"], ["else"])], outputs: [info("else", FLOAT)] }),
    }),
  ],
});

async function variablesOf(options: LoadOptions): Promise<string[]> {
  const loaded = await OnnxModel.load(exported, options);
  const names = [...loaded.variables().keys()];
  loaded.dispose();
  return names;
}

const read = (opType: string, nodeName: string, inputIndex: number): Consumer => {
  return { opType, domain: "", nodeName, inputIndex };
};

const isQuery: LoadOptions["trainable"] = (_, __, consumers) =>
  consumers.some(({ nodeName, inputIndex }) => nodeName.endsWith("/query/MatMul") && inputIndex === 1);

describe("trainable", () => {
  it("is told which nodes read an initializer, and as which input", async () => {
    const seen = new Map<string, readonly Consumer[]>();
    const isSeen = (name: string, _: readonly number[], consumers: readonly Consumer[]): boolean => {
      seen.set(name, consumers);
      return true;
    };
    expect(await variablesOf({ trainable: isSeen })).toEqual([...seen.keys()]);
    expect(Object.fromEntries(seen)).toEqual({
      "onnx::MatMul_12": [read("MatMul", "/encoder/layer.0/query/MatMul", 1)],
      "onnx::MatMul_15": [read("MatMul", "/encoder/layer.0/key/MatMul", 1), read("Gemm", "/tied/Gemm", 1)],
      "onnx::Mul_3": [read("Mul", "scaled", 0), read("Mul", "scaled", 1)],
      spare: [],
    });
  });

  it("chooses by them", async () => {
    expect(await variablesOf({ trainable: isQuery })).toEqual(["onnx::MatMul_12"]);
  });
});

/** A tensor of two numbers that lies in a file. */
const stored = (name: string, location: string, offset: number) => ({
  ...floats(name, [2], [0, 0]),
  rawData: new Uint8Array(0),
  dataLocation: 1,
  externalData: Object.entries({ location, offset: String(offset), length: "8" }).map(([key, value]) =>
    createMessage("StringStringEntryProto", { key, value }),
  ),
});

/** x + a + b, with a and b in the named files: [1, 2] at byte 0 and [10, 20] at byte 8. */
function external(first: string, second: string): Uint8Array {
  return encodeModel(
    model({
      inputs: [info("x", FLOAT, [2])],
      outputs: [info("y", FLOAT, [2])],
      initializers: [stored("a", first, 0), stored("b", second, 8)],
      nodes: [node("Sum", ["x", "a", "b"], ["y"])],
    }),
  );
}

const bytes = new Uint8Array(Float32Array.of(1, 2, 10, 20).buffer);
/** The same in the middle of a larger buffer, as a part of a download is. */
const part = new Uint8Array(24).subarray(4, 20);
part.set(bytes);

describe("externalData", () => {
  it.each([
    ["a Uint8Array", part],
    ["an ArrayBuffer", bytes.buffer],
    ["a DataView", new DataView(part.buffer, 4, 16)],
    ["a Map", new Map([["weights.bin", part]])],
    ["an object", { "weights.bin": bytes.buffer }],
  ] as [string, LoadOptions["externalData"]][])("may be %s", async (_, externalData) => {
    const loaded = await OnnxModel.load(external("weights.bin", "weights.bin"), { externalData: externalData! });
    const { y } = loaded.run({ x: { dims: [2], data: [100, 200] } });
    expect([...y!.dataSync()]).toEqual([111, 222]);
    loaded.assign("a", Float32Array.of(5, 6));
    expect([...new Float32Array(loaded.encodeExternalData("weights.bin").buffer)]).toEqual([5, 6, 10, 20]);
    expect([...bytes]).toEqual([...new Uint8Array(Float32Array.of(1, 2, 10, 20).buffer)]);
    loaded.dispose();
  });

  it.each([
    ["one file for a model with two", bytes, /one file were given, and "a.bin" has them. Give each file by its name/],
    ["another file", { "c.bin": bytes }, /this file was not given. The given files are: c.bin./],
    ["no file", {}, /this file was not given. No file was./],
  ] as const)("refuses %s", async (_, externalData, message) => {
    const loading = OnnxModel.load(external("a.bin", "b.bin"), { externalData });
    await expect(loading).rejects.toBeInstanceOf(ExternalDataError);
    await expect(loading).rejects.toThrow(message);
  });

  it("is named where it is missing", async () => {
    const loading = OnnxModel.load(external("a.bin", "a.bin"));
    await expect(loading).rejects.toBeInstanceOf(ExternalDataError);
    await expect(loading).rejects.toThrow(/"a.bin" of tensor "a": its file was not given. Pass .* as `externalData`/);
  });

  it.each([
    ["weights.bin", /externalData: expected the bytes of a file .* found "weights.bin"/],
    [{ "a.bin": "text" }, /externalData\["a.bin"\]: expected its bytes, found "text"/],
    [null, /externalData: expected the bytes of a file/],
  ])("%j is no file", async (externalData, message) => {
    const loading = OnnxModel.load(external("a.bin", "a.bin"), { externalData: externalData as never });
    await expect(loading).rejects.toBeInstanceOf(ArgumentError);
    await expect(loading).rejects.toThrow(message);
  });
});
