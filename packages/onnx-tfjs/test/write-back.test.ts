import {
  createMessage,
  DataType,
  decodeModel,
  encodeModel,
  externalDataFromMemory,
  makeTensor,
  tensorValues,
  type TensorProto,
} from "@favor/onnx";
import { openModel, writeModel } from "@favor/onnx/node";
import * as tf from "@tensorflow/tfjs";
import Long from "long";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { OnnxModel, VariableError } from "../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { floats, info, integers, model, node, noise } from "./graphs.ts";

const { FLOAT, DOUBLE, FLOAT16, BFLOAT16 } = DataType;

/** The tensor with its values in the field of its type instead of in raw_data. */
function inTypedField(tensor: TensorProto): TensorProto {
  const { data } = tensorValues(tensor);
  const rest = { ...tensor, rawData: new Uint8Array(0) };
  if (tensor.dataType === DOUBLE) return { ...rest, doubleData: [...(data as Float64Array)] };
  if (tensor.dataType === FLOAT) return { ...rest, floatData: [...(data as Float32Array)] };
  const { rawData } = tensor;
  return { ...rest, int32Data: [...new Uint16Array(Uint8Array.from(rawData).buffer)] };
}

const halves = (name: string, type: number): TensorProto => makeTensor(name, [2, 3], type, noise(6, 7));
const doubles = makeTensor("double", [2, 3], DOUBLE, Float64Array.from([1 / 3, 2, Math.PI, 4, 1e-7, 6]));

/** An initializer in every type and field that floats can be in, and what is no variable between them. */
const initializers = [
  floats("raw", [2, 3], noise(6, 1)),
  integers("count", [2], [5, 6]),
  inTypedField(floats("typed", [2, 3], noise(6, 2))),
  halves("half", FLOAT16),
  inTypedField(halves("typed half", FLOAT16)),
  halves("brain", BFLOAT16),
  inTypedField(halves("typed brain", BFLOAT16)),
  doubles,
  inTypedField({ ...doubles, name: "typed double" }),
  floats("mask", [3], [0, -Infinity, -3e38]),
  floats("scalar", [], [0.5]),
  floats("frozen", [2, 3], noise(6, 3)),
];

const trainable = ["raw", "typed", "half", "typed half", "brain", "typed brain", "double", "typed double"];

const proto = model({
  inputs: [info("x", FLOAT, [2, 3])],
  outputs: [info("y", FLOAT)],
  initializers,
  nodes: [node("Sum", ["x", ...trainable, "frozen"], ["y"])],
});
const bytes = encodeModel(proto);

const valuesOf = (file: Uint8Array, name: string): number[] =>
  Array.from(tensorValues(decodeModel(file).graph.initializer.find((tensor) => tensor.name === name)!).data, Number);

/** The type of an initializer, and how many values each of its fields has. */
function placeOf(file: Uint8Array, name: string): number[] {
  const tensor = decodeModel(file).graph.initializer.find((candidate) => candidate.name === name)!;
  const { dataType, rawData, floatData, int32Data, doubleData } = tensor;
  return [dataType, rawData.length, floatData.length, int32Data.length, doubleData.length];
}

/** The file without that initializer. */
function without(file: Uint8Array, name: string): Uint8Array {
  const read = decodeModel(file);
  const initializer = read.graph.initializer.filter((tensor) => tensor.name !== name);
  return encodeModel({ ...read, graph: { ...read.graph, initializer } });
}

const externalFile = noise(64, 9);
const externalBytes = new Uint8Array(externalFile.buffer);

/** `first` and `second` are one region of the file, tied; `third` lies beyond; bytes between belong to nobody. */
const external = (() => {
  const tensor = (name: string, offset: number): TensorProto =>
    createMessage("TensorProto", {
      name,
      dataType: FLOAT,
      dims: [2, 3].map((dim) => Long.fromNumber(dim)),
      dataLocation: 1,
      externalData: Object.entries({ location: "weights.bin", offset, length: 24 }).map(([key, value]) =>
        createMessage("StringStringEntryProto", { key, value: String(value) }),
      ),
    });
  return encodeModel(
    model({
      inputs: [info("x", FLOAT, [2, 3])],
      outputs: [info("y", FLOAT)],
      initializers: [tensor("first", 16), tensor("second", 16), tensor("third", 128)],
      nodes: [node("Sum", ["x", "first", "second", "third"], ["y"])],
    }),
  );
})();

onEveryBackend("Writing weights back", () => {
  let folder = "";
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "favor-onnx-tfjs-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it("gives the very bytes where nothing changed", async () => {
    const onnx = await OnnxModel.load(bytes);
    expect([...onnx.variables().keys()]).toEqual([...trainable, "frozen"]);
    expect(onnx.encode()).toEqual(bytes);
    onnx.dispose();
  });

  it.each(trainable)("keeps type and field of %s, and everything beside it", async (name) => {
    const onnx = await OnnxModel.load(bytes, { trainable: (candidate) => trainable.includes(candidate) });
    expect([...onnx.variables().keys()]).toEqual(trainable);
    const changed = Float32Array.from(valuesOf(bytes, name), (value) => -value);
    onnx.assign(name, changed);
    const encoded = onnx.encode();
    expect(valuesOf(encoded, name)).toEqual([...changed]);
    expect(placeOf(encoded, name)).toEqual(placeOf(bytes, name));
    expect(without(encoded, name)).toEqual(without(bytes, name));
    onnx.dispose();
  });

  it("writes what training has changed, in half precision rounded to nearest", async () => {
    const onnx = await OnnxModel.load(bytes, { trainable: (name) => name === "half" || name === "raw" });
    const optimizer = tf.train.sgd(0.25);
    optimizer.minimize(() => tf.sum(onnx.run({ x: tf.zeros([2, 3]) })["y"]!) as tf.Scalar, false, [
      ...onnx.variables().values(),
    ]);
    await onnx.download();
    const encoded = onnx.encode();
    expect(valuesOf(encoded, "raw")).toEqual(Array.from(noise(6, 1), (value) => Math.fround(value - 0.25)));
    for (const [i, value] of valuesOf(encoded, "half").entries()) {
      expect(Math.abs(value - (valuesOf(bytes, "half")[i]! - 0.25))).toBeLessThan(2 ** -11);
    }
    expect(Buffer.concat([...onnx.pieces()])).toEqual(Buffer.from(encoded));
    onnx.dispose();
    optimizer.dispose();
  });

  it("refuses values that do not fit", async () => {
    const onnx = await OnnxModel.load(bytes);
    expect(() => onnx.assign("raw", new Float32Array(5))).toThrow(VariableError);
    expect(() => onnx.assign("raw", tf.zeros([3, 2]))).toThrow(/its shape is \[2, 3\]/);
    expect(() => onnx.assign("count", new Float32Array(2))).toThrow(/no variable of that name/);
    onnx.dispose();
  });

  it("keeps external weights where they lie, and tied ones tied", async () => {
    const loader = externalDataFromMemory(new Map([["weights.bin", externalBytes]]));
    const onnx = await OnnxModel.load(external, { externalData: loader });
    const variables = onnx.variables();
    expect(variables.get("first")).toBe(variables.get("second"));
    const { y } = onnx.run({ x: tf.zeros([2, 3]) });
    expect(y!.dataSync()[0]).toBeCloseTo(2 * externalFile[4]! + externalFile[32]!, 6);
    expect(onnx.encodeExternalData("weights.bin")).toEqual(externalBytes);
    onnx.assign("second", new Float32Array(6).fill(7));
    expect(onnx.encode()).toEqual(external);
    const written = Float32Array.from(externalFile);
    written.fill(7, 4, 10);
    expect(onnx.encodeExternalData("weights.bin")).toEqual(new Uint8Array(written.buffer));
    onnx.dispose();
  });

  it("writes models that are read from their files", async () => {
    // 1 KiB and more stay in the file until they are read.
    const large = model({
      inputs: [info("x", FLOAT, [400])],
      outputs: [info("y", FLOAT)],
      initializers: [
        floats("a", [400], noise(400, 1)),
        floats("b", [400], noise(400, 2)),
        inTypedField(floats("c", [400], noise(400, 3))),
      ],
      nodes: [node("Sum", ["x", "a", "b", "c"], ["y"])],
    });
    const path = join(folder, "large.onnx");
    writeFileSync(path, encodeModel(large));
    const opened = await openModel(path);
    expect(opened.model.graph.initializer.map(({ source }) => source?.field)).toEqual([
      "rawData",
      "rawData",
      "floatData",
    ]);
    const onnx = await OnnxModel.load(opened.model);
    for (const name of ["b", "c"]) onnx.assign(name, new Float32Array(400).fill(2));
    const out = join(folder, "trained.onnx");
    await writeModel(onnx.toProto(), out);
    opened.close();
    onnx.dispose();
    const expected = large.graph.initializer.map((tensor) => [...(tensorValues(tensor).data as Float32Array)]);
    expected[1]!.fill(2);
    expected[2]!.fill(2);
    const file = new Uint8Array(readFileSync(out));
    expect(["a", "b", "c"].map((name) => valuesOf(file, name))).toEqual(expected);
    expect(file.length).toBe(encodeModel(large).length);
  });

  it("does the same for external data in files", async () => {
    const path = join(folder, "external.onnx");
    writeFileSync(path, external);
    writeFileSync(join(folder, "weights.bin"), externalBytes);
    const opened = await openModel(path);
    const onnx = await OnnxModel.load(opened.model);
    onnx.assign("first", new Float32Array(6).fill(7));
    const trained = join(folder, "trained-external.onnx");
    await writeModel(onnx.toProto(), trained);
    opened.close();
    onnx.dispose();
    const again = await openModel(trained);
    const values = again.model.graph.initializer.map((tensor) => [...(tensorValues(tensor).data as Float32Array)]);
    expect(values[0]).toEqual([7, 7, 7, 7, 7, 7]);
    expect(values[1]).toEqual(values[0]);
    expect(values[2]).toEqual([...externalFile.subarray(32, 38)]);
    const offsets = again.model.graph.initializer.map(
      ({ externalData }) => externalData.find(({ key }) => key === "offset")!.value,
    );
    expect(offsets[0]).toBe(offsets[1]);
    again.close();
  });
});
