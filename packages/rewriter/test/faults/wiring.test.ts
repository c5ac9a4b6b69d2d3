import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";
import { type Conversion } from "../../src/convert.ts";
import { decodeModel } from "@favor/onnx";
import { encodeModel } from "@favor/onnx";
import { DataType, type GraphProto, type ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { tensorValues } from "@favor/onnx";
import Long from "long";
import { heads, hidden, layerModel, reEmissionDifference } from "@favor/test-support/layer";
import { node } from "@favor/test-support/nodes";
import { openSession } from "@favor/test-support/onnxruntime";
import { valueInfo } from "@favor/test-support/small-model";

const plain = (): ModelProto => layerModel((b) => b.attend((s) => b.softmax(b.op("Add", [s, b.paddingBias()]))));

/** The code of the error that inspecting a changed model ends in. */
function codeOf(change: (graph: GraphProto, model: ModelProto) => void): string | undefined {
  const model = plain();
  change(model.graph, model);
  try {
    inspectAttention(decodeModel(encodeModel(model)));
    return undefined;
  } catch (error) {
    return (error as { code?: string }).code;
  }
}

/** How far re-emission is off; infinitely where the one attention is not found convertible. */
async function exactDifference(make: () => ModelProto): Promise<number> {
  const verdicts = inspectAttention(make()).sites.map(({ verdict }) => verdict);
  return verdicts.join() === "convert" ? reEmissionDifference(make, true) : Infinity;
}

function changed(change: (graph: GraphProto, model: ModelProto) => void): () => ModelProto {
  return () => {
    const model = plain();
    change(model.graph, model);
    return model;
  };
}

test("fault 24: two nodes make the same value", () => {
  expect(
    codeOf(({ node: nodes }) => {
      nodes.at(-1)!.output = [...nodes[0]!.output];
    }),
  ).toBe("duplicate-value");
});

test("fault 25: a cycle", () => {
  expect(
    codeOf(({ node: nodes }) => {
      const product = nodes.find(({ opType }) => opType === "MatMul")!;
      product.input[0] = nodes.at(-1)!.output[0]!;
    }),
  ).toBe("cyclic-graph");
});

describe("fault 26: a value that nobody makes", () => {
  test("is read", () => {
    expect(codeOf(({ node: nodes }) => void (nodes[3]!.input[0] = "nowhere"))).toBe("undefined-value");
  });
  test("is read inside a body", () => {
    const inside = createMessage("GraphProto", {
      name: "inside",
      node: [node("Neg", ["nowhere"], ["made"])],
      output: [createMessage("ValueInfoProto", { name: "made" })],
    });
    const branches = { then_branch: inside, else_branch: inside };
    expect(codeOf(({ node: nodes }) => void nodes.push(node("If", ["x"], ["unused"], branches)))).toBe(
      "undefined-value",
    );
  });
  test("is an output", () => {
    expect(codeOf(({ output }) => void output.push(valueInfo("nowhere", DataType.FLOAT, null)))).toBe(
      "undefined-value",
    );
  });
});

const operators = ({ graph }: ModelProto): string[] => graph.node.map(({ opType }) => opType).toSorted();

// onnxruntime itself takes sorted nodes only.
test("fault 27: unsorted nodes are sorted", async () => {
  const reversed = changed((graph) => void (graph.node = graph.node.toReversed()));
  const { model } = convertAttention(reversed(), { features: "exact" });
  expect(operators(model)).toEqual(operators(convertAttention(plain(), { features: "exact" }).model));
  await expect(openSession(encodeModel(model))).resolves.toBeDefined();
});

test("fault 28: an initializer that is an input too stays overridable", async () => {
  const make = changed((graph) => {
    for (const { name, dataType, dims } of graph.initializer) {
      if (name.includes("weight"))
        graph.input.push(
          valueInfo(
            name,
            dataType,
            dims.map((dim) => dim.toNumber()),
          ),
        );
    }
  });
  expect(inspectAttention(make()).sites.map(({ verdict }) => verdict)).toEqual(["convert"]);
  const before = make().graph.input.map(({ name }) => name);
  const { graph } = convertAttention(make(), { count: 16 }).model;
  expect(graph.input.map(({ name }) => name)).toEqual(before);
  // Nothing that a caller may exchange was computed with.
  const names = new Set(graph.initializer.map(({ name }) => name));
  expect(before.filter((name) => name.includes("weight")).every((name) => names.has(name))).toBe(true);
});

/** A model with an If whose branches read one of its values. */
const capturing = (value: (graph: GraphProto) => string) =>
  changed((graph) => {
    const inside = createMessage("GraphProto", {
      name: "inside",
      node: [node("Identity", [value(graph)], ["captured"])],
      output: [createMessage("ValueInfoProto", { name: "captured" })],
    });
    graph.input.push(valueInfo("condition", DataType.BOOL, []));
    graph.node.push(node("If", ["condition"], ["beside"], { then_branch: inside, else_branch: inside }));
    graph.output.push(valueInfo("beside", DataType.FLOAT, null));
  });

describe("fault 29: a body that captures attention's tensors", () => {
  test("probabilities: refused", () => {
    const model = capturing((graph) => graph.node.find(({ opType }) => opType === "Softmax")!.output[0]!)();
    expect(inspectAttention(model).sites.map(({ reasons }) => reasons.map(({ code }) => code))).toEqual([
      ["probabilities-used"],
    ]);
  });

  test("the result: converted, and the body still sees it", async () => {
    const make = capturing((graph) => graph.node.findLast(({ opType }) => opType === "MatMul")!.output[0]!);
    const { model } = convertAttention(make(), { features: "exact" });
    await expect(openSession(encodeModel(model))).resolves.toBeDefined();
  });
});

/** The softmax as a call of a local function, which may call itself. */
const call = (recursive: boolean) =>
  changed((graph, model) => {
    const softmax = graph.node.find(({ opType }) => opType === "Softmax")!;
    const [input, output] = [softmax.input[0]!, softmax.output[0]!];
    const inner = recursive ? node("own:Normalise", ["s"], ["p"]) : node("Softmax", ["s"], ["p"], { axis: -1 });
    const opset = createMessage("OperatorSetIdProto", { domain: "own", version: Long.ONE });
    model.opsetImport.push(opset);
    model.functions.push(
      createMessage("FunctionProto", {
        name: "Normalise",
        domain: "own",
        input: ["s"],
        output: ["p"],
        node: [inner],
        opsetImport: model.opsetImport,
      }),
    );
    graph.node[graph.node.indexOf(softmax)] = node("own:Normalise", [input], [output]);
  });

describe("fault 30: local functions", () => {
  test("are looked into", async () => expect(await exactDifference(call(false))).toBeLessThan(1e-5));
  test("that call themselves are refused", () => {
    expect(() => inspectAttention(call(true)())).toThrow(expect.objectContaining({ code: "recursive-function" }));
  });
});

test("fault 31: sparse weights", async () => {
  const make = changed((graph) => {
    const at = graph.initializer.findIndex(({ dims }) => dims.length === 2);
    const [dense] = graph.initializer.splice(at, 1);
    const { data, dims } = tensorValues(dense!);
    const values = Float32Array.from(data as Float32Array);
    const linear = BigInt64Array.from(values, (_, i) => BigInt(i));
    graph.sparseInitializer.push(
      createMessage("SparseTensorProto", {
        values: tensor(dense!.name, DataType.FLOAT, [values.length], values),
        indices: tensor("", DataType.INT64, [values.length], linear),
        dims: dims.map((dim) => Long.fromNumber(dim)),
      }),
    );
  });
  expect(make().graph.sparseInitializer[0]!.values!.dims[0]!.toNumber()).toBe(hidden * hidden);
  expect(await exactDifference(make)).toBeLessThan(1e-5);
});

function tensor(name: string, dataType: number, dims: number[], values: Float32Array | BigInt64Array) {
  const rawData = new Uint8Array(values.buffer);
  return createMessage("TensorProto", { name, dataType, dims: dims.map((dim) => Long.fromNumber(dim)), rawData });
}

test("fault 44: names that clash with ours are left alone", async () => {
  const fresh = convertAttention(plain(), { features: "exact" }).model.graph;
  const old = new Set(plain().graph.node.flatMap(({ output }) => output));
  const ours = fresh.node.flatMap(({ output }) => output).filter((name) => !old.has(name));
  expect(ours.length).toBeGreaterThan(3);
  const make = changed((graph) => {
    ours.forEach((name, i) => graph.node.push(node("Identity", [i === 0 ? "x" : ours[i - 1]!], [name])));
    graph.output.push(valueInfo(ours.at(-1)!, DataType.FLOAT, null));
  });
  expect(await exactDifference(make)).toBeLessThan(1e-5);
});

test("fault 45: a converted model is not converted again", () => {
  const { model }: Conversion = convertAttention(plain(), { count: 16 });
  const again = (): unknown => convertAttention(decodeModel(encodeModel(model)));
  expect(again).toThrow(expect.objectContaining({ code: "already-converted" }));
  expect(inspectAttention(model).sites).toEqual([]);
});

const identities = (count: number, from: string): ReturnType<typeof node>[] =>
  Array.from({ length: count }, (_, i) => node("Identity", [i === 0 ? from : `chain${i - 1}`], [`chain${i}`]));

const bodyOf = (only: ReturnType<typeof node>, inputs: string[] = []): GraphProto =>
  createMessage("GraphProto", {
    name: "body",
    input: inputs.map((name) => createMessage("ValueInfoProto", { name })),
    node: [only],
    output: ["goes_on", "a", "b", "c"].map((name) => createMessage("ValueInfoProto", { name })),
  });

/** Loops in loops, each of three states whose shapes change, so that each is run through several times. */
const loops = (depth: number): ModelProto =>
  changed((graph) => {
    const inputs = ["i", "goes_on", "a_in", "b_in", "c_in"];
    let inner = node("Unknown", ["i"], ["a", "b", "c"]);
    for (let level = 0; level < depth; level++) {
      const body = bodyOf(inner, inputs);
      inner = node("Loop", ["", "", "a_in", "b_in", "c_in"], ["a", "b", "c"], { body });
    }
    inner.input = ["", "", "x", "x", "x"];
    graph.node.push(inner);
  })();

/** Seconds of processor time, which other programs do not change. */
function secondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6;
}

describe("size of graphs", () => {
  test("a chain of 50,000 nodes before the attention is inspected in time", () => {
    const make = changed((graph) => {
      const chain = identities(50_000, "x");
      for (const one of graph.node) one.input = one.input.map((name) => (name === "x" ? "chain49999" : name));
      graph.node.unshift(...chain);
    });
    const model = make();
    const start = process.cpuUsage();
    expect(inspectAttention(model).sites.map(({ heads: found }) => found)).toEqual([heads]);
    expect(secondsSince(start)).toBeLessThan(15);
  });

  test("loops in loops end in time", () => {
    const start = process.cpuUsage();
    expect(inspectAttention(decodeModel(encodeModel(loops(28)))).sites).toHaveLength(1);
    expect(secondsSince(start)).toBeLessThan(15);
    expect(() => decodeModel(encodeModel(loops(200)))).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
  });

  test("functions that nest bodies deeper than a file may are refused", () => {
    const make = changed((graph, model) => {
      const opset = createMessage("OperatorSetIdProto", { domain: "own", version: Long.ONE });
      model.opsetImport.push(opset);
      const { opsetImport } = model;
      for (let level = 0; level < 3000; level++) {
        const next = level === 0 ? node("Neg", ["v"], ["a"]) : node(`own:F${level - 1}`, ["v"], ["a"]);
        const branch = createMessage("GraphProto", {
          name: "branch",
          node: [next],
          output: [createMessage("ValueInfoProto", { name: "a" })],
        });
        const made = node("If", ["v"], ["out"], { then_branch: branch });
        const own = { name: `F${level}`, domain: "own", input: ["v"], output: ["out"], node: [made], opsetImport };
        model.functions.push(createMessage("FunctionProto", own));
      }
      graph.node.push(node("own:F2999", ["x"], ["deep"]));
    });
    const start = process.cpuUsage();
    expect(() => inspectAttention(make())).toThrow(expect.objectContaining({ code: "expansion-too-large" }));
    expect(secondsSince(start)).toBeLessThan(15);
  });
});
