import { DataType, type ModelProto } from "@favor/onnx";
import { evaluateGraph, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs";
import { afterEach, expect, test, vi } from "vitest";
import { OnnxModel } from "../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { floats, graph, info, integers, model, node, noise } from "./graphs.ts";

const { BOOL, FLOAT, INT64 } = DataType;

afterEach(() => {
  vi.restoreAllMocks();
});

/** Doubles x while the sum of its squares is below a limit: the condition depends on values of the device. */
const doubling = model({
  inputs: [info("x", FLOAT, [2]), info("trips", INT64, [])],
  outputs: [info("last", FLOAT, [2]), info("count", INT64, []), info("rows", FLOAT, ["steps", 2])],
  initializers: [
    floats("limit", [], [100]),
    integers("none", [], [0]),
    integers("one", [], [1]),
    floats("two", [], [2]),
  ],
  nodes: [
    node("Loop", ["trips", "", "x", "none"], ["last", "count", "rows"], {
      body: graph({
        inputs: [info("i", INT64, []), info("go", BOOL, []), info("state", FLOAT), info("n", INT64)],
        outputs: [info("on", BOOL, []), info("next", FLOAT), info("m", INT64), info("row", FLOAT, [2])],
        nodes: [
          node("Mul", ["state", "two"], ["next"]),
          node("Add", ["n", "one"], ["m"]),
          node("ReduceSumSquare", ["next"], ["size"], { keepdims: 0 }),
          node("Less", ["size", "limit"], ["on"]),
          node("Identity", ["next"], ["row"]),
        ],
      }),
    }),
  ],
});

/** Adds up columns from the right, and keeps the sums as columns of the result, in the order of x. */
const scanning = model({
  inputs: [info("x", FLOAT, [2, 3]), info("start", FLOAT, [2])],
  outputs: [info("total", FLOAT, [2]), info("sums", FLOAT, [2, 3])],
  nodes: [
    node("Scan", ["start", "x"], ["total", "sums"], {
      num_scan_inputs: 1,
      scan_input_axes: [1],
      scan_input_directions: [1],
      scan_output_axes: [-1],
      scan_output_directions: [1],
      body: graph({
        inputs: [info("state", FLOAT), info("column", FLOAT)],
        outputs: [info("next", FLOAT), info("sum", FLOAT)],
        nodes: [node("Add", ["state", "column"], ["next"]), node("Identity", ["next"], ["sum"])],
      }),
    }),
  ],
});

const chosenBySign = model({
  inputs: [info("x", FLOAT, [2])],
  outputs: [info("y", FLOAT)],
  initializers: [floats("zero", [], [0]), floats("scale", [2], [3, 5])],
  nodes: [
    node("ReduceSum", ["x"], ["sum"], { keepdims: 0 }),
    node("Greater", ["sum", "zero"], ["positive"]),
    node("If", ["positive"], ["y"], {
      then_branch: graph({ outputs: [info("a", FLOAT)], nodes: [node("Mul", ["x", "scale"], ["a"])] }),
      else_branch: graph({ outputs: [info("b", FLOAT)], nodes: [node("Neg", ["x"], ["b"])] }),
    }),
  ],
});

type Feeds = Readonly<Record<string, Tensor>>;

const feedsOf = (x: readonly number[], trips: number): Feeds => ({
  x: tensorOf(FLOAT, [2], x),
  trips: tensorOf(INT64, [], [trips]),
});

type Plain = Record<string, { readonly dims: readonly number[]; readonly values: readonly number[] }>;

function evaluated(proto: ModelProto, feeds: Feeds): Plain {
  const names = proto.graph.output.map(({ name }) => name);
  const results = evaluateGraph(proto.graph.node, names, new Map(Object.entries(feeds)), {
    opsets: new Map([["", 17]]),
    initializer: (name) => proto.graph.initializer.find((tensor) => tensor.name === name),
  });
  return Object.fromEntries(
    [...results].map(([name, { dims, data }]) => [name, { dims: [...dims], values: [...data] }]),
  );
}

async function run(proto: ModelProto, feeds: Feeds): Promise<Plain> {
  const before = tf.memory().numTensors;
  const loaded = await OnnxModel.load(proto);
  const outputs = loaded.run(feeds);
  const found = Object.entries(outputs).map(([name, tensor]) => {
    return [name, { dims: tensor.shape, values: [...tensor.dataSync()] }] as const;
  });
  tf.dispose(outputs);
  loaded.dispose();
  expect(tf.memory().numTensors).toBe(before);
  return Object.fromEntries(found);
}

onEveryBackend("control flow", () => {
  test.each([
    ["until its condition on the device says no", [0.5, 1], 50],
    ["as often as it is told", [0.5, 1], 3],
    ["once, for the condition is asked afterwards", [50, 1], 5],
    ["never", [0.5, 1], 0],
  ] as const)("Loop runs %s", async (_, x, trips) => {
    const feeds = feedsOf(x, trips);
    expect(await run(doubling, feeds)).toEqual(evaluated(doubling, feeds));
  });

  test("Scan goes backwards and collects along the last axis", async () => {
    const feeds = { x: tensorOf(FLOAT, [2, 3], [1, 2, 3, 4, 5, 6]), start: tensorOf(FLOAT, [2], [10, 20]) };
    const found = await run(scanning, feeds);
    expect(found).toEqual(evaluated(scanning, feeds));
    expect(found["sums"]!.values).toEqual([16, 15, 13, 35, 31, 26]);
  });

  test("If takes the branch that the device decides on, and its gradient", async () => {
    const loaded = await OnnxModel.load(chosenBySign);
    const gradient = tf.grad((x: tf.Tensor) => tf.sum(loaded.run({ x })["y"]!));
    expect([...gradient(tf.tensor1d([1, 2])).dataSync()]).toEqual([3, 5]);
    expect([...gradient(tf.tensor1d([1, -2])).dataSync()]).toEqual([-1, -1]);
    loaded.dispose();
  });

  test("a condition that the backend cannot read at once is named", async () => {
    const loaded = await OnnxModel.load(chosenBySign);
    const feeds = { x: tf.tensor1d(noise(2)) };
    // As WebGPU in Node does.
    vi.spyOn(tf.Tensor.prototype, "dataSync").mockImplementation(() => {
      throw new Error("no synchronous reading");
    });
    expect(() => loaded.run(feeds)).toThrow(
      expect.objectContaining({ code: "operator-failed", message: expect.stringMatching(/^If .*at once; use wasm/) }),
    );
    loaded.dispose();
  });
});
