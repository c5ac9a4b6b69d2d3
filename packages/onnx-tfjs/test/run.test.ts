import { AttributeType, createMessage, DataType } from "@favor/onnx";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, expect, it } from "vitest";
import { FeedError, MissingValueError, OnnxModel, OperatorError, UnsupportedOperatorError } from "../src/index.ts";
import { onEveryBackend } from "@favor/test-support/backends";
import { floats, graph, info, integers, model, node, noise } from "./graphs.ts";

const { FLOAT, INT64, BOOL } = DataType;

/** Embedding, a linear layer, and a mask from integers: y = tanh(E[ids] W) * mask, z its sum. */
const layered = model({
  inputs: [info("ids", INT64, ["batch", "length"]), info("mask", INT64, ["batch", "length"])],
  outputs: [info("y", FLOAT, ["batch", "length", 2]), info("z", FLOAT, [])],
  initializers: [
    floats("E", [5, 3], noise(15, 1)),
    floats("W", [3, 2], noise(6, 2)),
    floats("unused", [4], noise(4, 3)),
    floats("one", [], [1]),
    integers("last", [1], [-1]),
  ],
  nodes: [
    // Not in the order of the graph.
    node("ReduceSum", ["y"], ["z"], { keepdims: 0 }),
    node("Mul", ["t", "weights"], ["y"]),
    node("Gather", ["E", "ids"], ["e"]),
    node("MatMul", ["e", "W"], ["xW"]),
    node("Tanh", ["xW"], ["t"]),
    node("Unsqueeze", ["mask", "last"], ["column"]),
    node("Cast", ["column"], ["cast"], { to: FLOAT }),
    node("Add", ["one", "one"], ["two"]),
    node("Div", ["two", "two"], ["unit"]),
    node("Mul", ["cast", "unit"], ["weights"]),
  ],
});

const feeds = {
  ids: { dims: [2, 2], data: BigInt64Array.of(4n, 0n, -2n, 4n) },
  mask: { dims: [2, 2], data: [1, 1, 0, 1] },
};

/** What {@link layered} computes, for E and W. */
function expectedSum(table: Float32Array, matrix: Float32Array): number {
  let sum = 0;
  for (const row of [4, 0, 4]) {
    for (let column = 0; column < 2; column++) {
      let x = 0;
      for (let l = 0; l < 3; l++) x += table[row * 3 + l]! * matrix[l * 2 + column]!;
      sum += Math.tanh(x);
    }
  }
  return sum;
}

function caught(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was thrown.");
}

onEveryBackend("OnnxModel", () => {
  beforeAll(() => {
    repairBackend();
  });

  it("runs a graph on integers of any kind", async () => {
    const onnx = await OnnxModel.load(layered);
    expect(onnx.inputs.map(({ name, dataType, shape }) => [name, dataType, shape])).toEqual([
      ["ids", INT64, ["batch", "length"]],
      ["mask", INT64, ["batch", "length"]],
    ]);
    expect(onnx.outputs.map(({ name }) => name)).toEqual(["y", "z"]);
    const expected = expectedSum(noise(15, 1), noise(6, 2));
    const ids = [4, 0, -2, 4];
    for (const given of [
      feeds.ids,
      { dims: [2, 2], data: Int32Array.from(ids) },
      { dims: [2, 2], data: ids },
      { dims: [2, 2], dataType: INT64, data: Float64Array.from(ids) },
      tf.tensor2d(ids, [2, 2], "int32"),
    ]) {
      const { y, z } = onnx.run({ ...feeds, ids: given });
      expect(y!.shape).toEqual([2, 2, 2]);
      expect(z!.dataSync()[0]).toBeCloseTo(expected, 5);
      expect(y!.dataSync()[4]).toBeCloseTo(0);
      tf.dispose([y!, z!]);
    }
    onnx.dispose();
  });

  it("gives the gradients of its variables", async () => {
    const onnx = await OnnxModel.load(layered);
    expect([...onnx.variables().keys()]).toEqual(["E", "W", "unused"]);
    const used = ["E", "W"].map((name) => onnx.variables().get(name)!);
    const { value, grads } = tf.variableGrads(() => onnx.run(feeds, { outputs: ["z"] })["z"] as tf.Scalar, used);
    const [table, matrix] = [noise(15, 1), noise(6, 2)];
    expect(value.dataSync()[0]).toBeCloseTo(expectedSum(table, matrix), 5);
    for (const [values, variable] of [
      [table, used[0]!],
      [matrix, used[1]!],
    ] as const) {
      const found = grads[variable.name]!.dataSync();
      for (let i = 0; i < values.length; i++) {
        const changed = (by: number): number => {
          const copy = Float32Array.from(values, (x, j) => (i === j ? x + by : x));
          return values === table ? expectedSum(copy, matrix) : expectedSum(table, copy);
        };
        expect(found[i]).toBeCloseTo((changed(1e-3) - changed(-1e-3)) / 2e-3, 3);
      }
    }
    tf.dispose([value, grads]);
    onnx.dispose();
  });

  it("gives the gradient of a float feed, fed in place of any node", async () => {
    const onnx = await OnnxModel.load(layered);
    const t = tf.tensor3d([1, 2, 3, 4, 5, 6, 7, 8], [2, 2, 2]);
    // Without ids: the nodes before "t" do not run.
    const dt = tf.grad((x) => onnx.run({ mask: feeds.mask, t: x }, { outputs: ["z"] })["z"]!)(t);
    expect([...dt.dataSync()]).toEqual([1, 1, 1, 1, 0, 0, 1, 1]);
    tf.dispose([t, dt]);
    onnx.dispose();
  });

  it("takes constants from feeds, also after it folded what depends on them", async () => {
    const onnx = await OnnxModel.load(layered);
    const of = (more: Record<string, tf.Tensor>): number =>
      tf.tidy(() => onnx.run({ ...feeds, ...more }, { outputs: ["two"] })["two"]!.dataSync()[0]!);
    expect(of({})).toBe(2);
    expect(of({ one: tf.scalar(3) })).toBe(6);
    expect(of({})).toBe(2);
    onnx.dispose();
  });

  it("hands values to an intercept and goes on with what it returns", async () => {
    const onnx = await OnnxModel.load(layered);
    const seen: number[][] = [];
    const run = (name: string): number =>
      tf.tidy(() => {
        const intercept = {
          [name]: (value: tf.Tensor) => {
            seen.push(value.shape);
            return tf.mul(value, 2);
          },
        };
        return onnx.run(feeds, { intercept })["z"]!.dataSync()[0]!;
      });
    const plain = expectedSum(noise(15, 1), noise(6, 2));
    expect(run("t")).toBeCloseTo(2 * plain, 5);
    // A value of the host, and a folded constant.
    expect(run("weights")).toBeCloseTo(2 * plain, 5);
    expect(run("unit")).toBeCloseTo(2 * plain, 5);
    expect(seen).toEqual([[2, 2, 2], [2, 2, 1], []]);
    onnx.dispose();
  });

  it("makes variables of weights, not of masks, single numbers and frequencies of positions", async () => {
    const frequencies = noise(20, 1);
    const angles = [
      node("Cast", ["positions"], ["p"], { to: FLOAT }),
      node("MatMul", ["p", "frequencies"], ["angles"]),
      node("Concat", ["angles", "angles"], ["both"], { axis: -1 }),
      node("Cos", ["both"], ["cos"]),
    ];
    const features = [node("MatMul", ["x", "projection"], ["xw"]), node("Sin", ["xw"], ["sin"])];
    const rotary = model({
      inputs: [info("positions", INT64, ["n", 1]), info("x", FLOAT, ["n", 2])],
      outputs: [info("cos", FLOAT), info("sin", FLOAT)],
      initializers: [
        floats("frequencies", [1, 20], frequencies),
        floats("projection", [2, 3], noise(6, 2)),
        floats("bound", [2], [0, -65504]),
        floats("epsilon", [1], [1e-5]),
      ],
      nodes: [...angles, ...features],
    });
    const onnx = await OnnxModel.load(rotary);
    expect([...onnx.variables().keys()]).toEqual(["projection"]);
    const { cos } = onnx.run({ positions: { dims: [1, 1], data: [1e6] } }, { outputs: ["cos"] });
    // In float32 on the host; on a graphics device it would be anything.
    for (const [i, found] of cos!.dataSync().entries()) {
      expect(found).toBeCloseTo(Math.cos(Math.fround(1e6 * frequencies[i % 20]!)), 5);
    }
    cos!.dispose();
    onnx.dispose();
    const all = await OnnxModel.load(rotary, { trainable: () => true });
    expect(all.variables().size).toBe(4);
    all.dispose();
  });

  it("leaves nothing behind: not after a run, a gradient, an error, nor when disposed of", async () => {
    const before = tf.memory();
    const onnx = await OnnxModel.load(layered);
    tf.dispose(onnx.run(feeds));
    const loaded = tf.memory();
    const [loss] = [...onnx.variables().values()];
    for (let i = 0; i < 3; i++) {
      tf.dispose(onnx.run(feeds));
      tf.dispose(tf.variableGrads(() => onnx.run(feeds, { outputs: ["z"] })["z"] as tf.Scalar, [loss!]));
      caught(() => onnx.run({ ...feeds, ids: { dims: [1, 1], data: [9] } }));
    }
    expect(tf.memory().numTensors).toBe(loaded.numTensors);
    expect(tf.memory().numBytes).toBe(loaded.numBytes);
    onnx.dispose();
    onnx.dispose();
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
    expect(() => onnx.run(feeds)).toThrow(/disposed of/);
  });

  it("frees each value after its last reader", async () => {
    const depth = 40;
    const chain = model({
      inputs: [info("v0", FLOAT, [1000])],
      outputs: [info(`v${depth}`, FLOAT, [1000])],
      nodes: Array.from({ length: depth }, (_, i) => node(i % 2 ? "Tanh" : "Identity", [`v${i}`], [`v${i + 1}`])),
    });
    const onnx = await OnnxModel.load(chain);
    const x = tf.randomUniform([1000], -1, 1, "float32", 1);
    const { peakBytes } = await tf.profile(() => onnx.run({ v0: x })[`v${depth}`]!);
    expect(peakBytes).toBeLessThan(tf.memory().numBytes + 4 * 4000);
    expect(x.isDisposed).toBe(false);
    onnx.dispose();
    tf.disposeVariables();
    x.dispose();
  });

  it("gives an output that is an input, or given twice, as tensors of their own", async () => {
    const aliases = model({
      inputs: [info("x", FLOAT, [2])],
      outputs: [info("a", FLOAT), info("b", FLOAT), info("c", FLOAT), info("n", INT64), info("p", BOOL)],
      nodes: [
        node("Identity", ["x"], ["a"]),
        node("Neg", ["x"], ["b"]),
        node("Identity", ["b"], ["c"]),
        node("Shape", ["x"], ["n"]),
        node("Greater", ["x", "b"], ["p"]),
      ],
    });
    const onnx = await OnnxModel.load(aliases);
    const x = tf.tensor1d([1, 2]);
    const outputs = onnx.run({ x });
    for (const name of ["a", "b"]) outputs[name]!.dispose();
    expect([...outputs["c"]!.dataSync()]).toEqual([-1, -2]);
    expect([...x.dataSync()]).toEqual([1, 2]);
    expect([outputs["n"]!.dtype, outputs["n"]!.dataSync()[0]]).toEqual(["int32", 2]);
    expect([outputs["p"]!.dtype, outputs["p"]!.dataSync()[0]]).toEqual(["bool", 1]);
    tf.dispose([x, outputs]);
    onnx.dispose();
  });

  it("runs local functions with the attributes of their calls, and bodies with the values around them", async () => {
    const reference = createMessage("AttributeProto", {
      name: "alpha",
      refAttrName: "slope",
      type: AttributeType.FLOAT,
    });
    const leaky = node("LeakyRelu", ["in"], ["middle"]);
    leaky.attribute.push(reference);
    const fn = createMessage("FunctionProto", {
      name: "Twice",
      domain: "local",
      input: ["in"],
      output: ["out"],
      attribute: ["slope"],
      node: [leaky, node("Add", ["middle", "middle"], ["out"])],
      opsetImport: [],
    });
    const branch = (factor: string) =>
      graph({ nodes: [node("Mul", ["y", factor], ["r"])], outputs: [info("r", FLOAT)] });
    const branching = model(
      {
        inputs: [info("x", FLOAT, [2]), info("positive", BOOL, [])],
        outputs: [info("z", FLOAT, [2])],
        initializers: [floats("W", [2], [3, 5]), floats("V", [2], [-1, -1])],
        nodes: [
          node("Twice", ["x"], ["y"], { slope: { float: 0.5 } }, "local"),
          node("If", ["positive"], ["z"], { then_branch: branch("W"), else_branch: branch("V") }),
        ],
      },
      { functions: [fn] },
    );
    const onnx = await OnnxModel.load(branching);
    const of = (positive: number): number[] =>
      tf.tidy(() => {
        const { z } = onnx.run({ x: tf.tensor1d([1, -1]), positive: { dims: [], data: Uint8Array.of(positive) } });
        return [...z!.dataSync()];
      });
    expect(of(1)).toEqual([6, -5]);
    expect(of(0)).toEqual([-2, 1]);
    onnx.dispose();
  });
});

onEveryBackend("Errors of OnnxModel", () => {
  it("name the operator that does not run, and its node", async () => {
    const odd = model({
      inputs: [info("x", FLOAT, [2])],
      outputs: [info("y", FLOAT)],
      nodes: [node("Warp", ["x"], ["y"], {}, "org.example")],
    });
    const onnx = await OnnxModel.load(odd);
    const error = caught(() => onnx.run({ x: { dims: [2], data: [1, 2] } }));
    expect(error).toBeInstanceOf(UnsupportedOperatorError);
    expect(error).toMatchObject({
      code: "unsupported-operator",
      details: { domain: "org.example", opType: "Warp", node: "Warp of y" },
      message: expect.stringContaining('org.example.Warp "Warp of y"') as string,
    });
    expect((error as UnsupportedOperatorError).details["supported"]).toContain(":MatMul");
    onnx.dispose();
  });

  it("name what is missing, and what does not fit", async () => {
    const onnx = await OnnxModel.load(layered);
    expect(caught(() => onnx.run({ ids: feeds.ids }))).toMatchObject({
      code: "missing-value",
      details: { name: "mask", opType: "Unsqueeze" },
    });
    expect(caught(() => onnx.run(feeds, { outputs: ["nowhere"] }))).toBeInstanceOf(MissingValueError);
    for (const ids of [
      { dims: [4], data: [1, 2, 3, 4] },
      { dims: [2, 2], data: [1, 2, 3] },
      tf.tensor2d([1, 2, 3, 4], [2, 2]),
    ]) {
      const error = caught(() => onnx.run({ ...feeds, ids }));
      expect(error).toBeInstanceOf(FeedError);
      expect(error).toMatchObject({ code: "invalid-feed", details: { name: "ids" } });
    }
    const error = caught(() => onnx.run({ ...feeds, ids: { dims: [1, 1], data: [9] } }));
    expect(error).toBeInstanceOf(OperatorError);
    expect((error as Error).message).toMatch(/^Gather "Gather of e": index 9 is out of bounds for 5 elements/);
    onnx.dispose();
  });

  it("tell a cycle", async () => {
    const cyclic = model({
      outputs: [info("a", FLOAT)],
      nodes: [node("Neg", ["b"], ["a"]), node("Neg", ["a"], ["b"])],
    });
    const onnx = await OnnxModel.load(cyclic);
    expect(() => onnx.run({})).toThrow(/depends on itself/);
    onnx.dispose();
  });
});
