import Long from "long";
import { describe, expect, test } from "vitest";
import { EvaluationError, EvaluationLimitError, MissingValueError } from "../../src/evaluate/errors.ts";
import { evaluateGraph, type EvaluationOptions } from "../../src/evaluate/graph.ts";
import { encodeTensor, type Tensor } from "../../src/evaluate/tensor.ts";
import { DataType, type GraphProto, type NodeProto, type TensorProto } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";
import { bool, float32, int64, list, node, plain } from "@favor/test-support/nodes";

const options: EvaluationOptions = { opsets: new Map([["", 17]]) };

function run(
  nodes: NodeProto[],
  wanted: string,
  feeds: Record<string, Tensor>,
  more: Partial<EvaluationOptions> = {},
): Tensor {
  return evaluateGraph(nodes, [wanted], new Map(Object.entries(feeds)), { ...options, ...more }).get(wanted)!;
}

const values = (names: readonly string[]) => names.map((name) => createMessage("ValueInfoProto", { name }));

function body(input: string[], output: string[], nodes: NodeProto[]): GraphProto {
  return createMessage("GraphProto", { input: values(input), output: values(output), node: nodes });
}

describe("a graph", () => {
  const one = float32([], [1]);

  test("is evaluated in any order of nodes, and only as far as wanted", () => {
    const nodes = [
      node("Mul", ["b", "b"], ["c"]),
      node("NoSuchOperator", ["b"], ["unused"]),
      node("Add", ["a", "a"], ["b"]),
    ];
    expect(plain(run(nodes, "c", { a: float32([1], [3]) })).values).toEqual([36]);
    expect(() => run(nodes, "unused", { a: one })).toThrow(
      expect.objectContaining({
        code: "unsupported-operator",
        details: expect.objectContaining({ opType: "NoSuchOperator" }),
      }),
    );
  });

  test("may be cut by feeding a value that a node computes", () => {
    const nodes = [node("NoSuchOperator", ["a"], ["b"]), node("Neg", ["b"], ["c"])];
    expect(plain(run(nodes, "c", { b: one })).values).toEqual([-1]);
  });

  test("reads initializers as protos or tensors", () => {
    const stored = new Map<string, Tensor | TensorProto>([
      ["w", float32([1], [2])],
      ["v", encodeTensor("v", float32([1], [5]))],
    ]);
    const initializer = stored.get.bind(stored);
    expect(plain(run([node("Add", ["w", "v"], ["y"])], "y", {}, { initializer })).values).toEqual([7]);
  });

  test("of 100,000 nodes in a chain does not overflow the stack", () => {
    const nodes = Array.from({ length: 100_000 }, (_, i) => node("Neg", [`v${i}`], [`v${i + 1}`]));
    expect(plain(run(nodes, "v100000", { v0: one })).values).toEqual([1]);
  });

  test("with a missing value names it and its reader", () => {
    const nodes = [node("Add", ["a", "nowhere"], ["b"])];
    expect(() => run(nodes, "b", { a: one })).toThrow(/"nowhere", read by Add \(output "b"\)/);
    expect(() => run([], "c", {})).toThrow(/"c", asked for/);
    expect(() => run([], "c", {})).toThrow(MissingValueError);
  });

  test("with a cycle is refused", () => {
    const nodes = [node("Add", ["a", "c"], ["b"]), node("Neg", ["b"], ["c"])];
    expect(() => run(nodes, "c", { a: one })).toThrow(EvaluationError);
    expect(() => run(nodes, "c", { a: one })).toThrow(/depends on itself/);
  });
});

describe("limits", () => {
  test("refuse a tensor before it is made", () => {
    const huge = [node("ConstantOfShape", ["shape"], ["y"])];
    expect(() => run(huge, "y", { shape: list(1e6, 1e6) })).toThrow(EvaluationLimitError);
    expect(() => run(huge, "y", { shape: list(-1) })).toThrow(EvaluationError);
    expect(() =>
      run([node("Range", ["a", "b", "c"], ["y"])], "y", {
        a: int64([], [0]),
        b: int64([], [2 ** 50]),
        c: int64([], [1]),
      }),
    ).toThrow(EvaluationLimitError);
    const expand = [node("Expand", ["x", "shape"], ["y"])];
    expect(() => run(expand, "y", { x: float32([1], [0]), shape: list(2 ** 40) })).toThrow(EvaluationLimitError);
  });

  test("count all tensors together", () => {
    const nodes = Array.from({ length: 10 }, (_, i) => node("Neg", [`v${i}`], [`v${i + 1}`]));
    const v0 = float32(
      [100],
      Array.from({ length: 100 }, () => 1),
    );
    expect(run(nodes, "v10", { v0 }, { limits: { elements: 1000 } }).dims).toEqual([100]);
    expect(() => run(nodes, "v10", { v0 }, { limits: { elements: 999 } })).toThrow(/limit is 999/);
  });

  test("stop an endless loop", () => {
    const loop = node("Loop", ["", "go"], ["y"], {
      body: body(
        ["i", "go_in"],
        ["go_in2", "i2"],
        [node("Identity", ["go_in"], ["go_in2"]), node("Identity", ["i"], ["i2"])],
      ),
    });
    expect(() => run([loop], "y", { go: bool([], [1]) }, { limits: { operations: 1e5 } })).toThrow(
      expect.objectContaining({ code: "evaluation-limit" }),
    );
  });

  test("count the rows that loops collect, also of constants of the body", () => {
    const row = { ...body(["i", "go_in"], ["go_in", "row"], []) };
    row.initializer = [encodeTensor("row", { ...float32([0], []), dims: [100], data: new Float32Array(100) })];
    const loop = node("Loop", ["trips", ""], ["rows"], { body: row });
    const collect = (trips: number) =>
      run([loop], "rows", { trips: int64([], [trips]) }, { limits: { elements: 2000 } });
    expect(collect(10).dims).toEqual([10, 100]);
    expect(() => collect(1_000_000)).toThrow(/needs 2100 elements, the limit is 2000/);
  });

  test("bound bodies within bodies", () => {
    let inner = body([], ["c"], []);
    for (let depth = 0; depth < 20; depth++) {
      inner = body([], [`y${depth}`], [node("If", ["c"], [`y${depth}`], { then_branch: inner, else_branch: inner })]);
    }
    const outer = node("If", ["c"], ["y"], { then_branch: inner, else_branch: inner });
    expect(() => run([outer], "y", { c: bool([], [1]) })).toThrow(/nesting/);
  });
});

describe("control flow", () => {
  test("If evaluates the branch it takes, with values around it, and nothing for the other", () => {
    const branches = node("If", ["c"], ["y"], {
      then_branch: body([], ["t"], [node("Add", ["outer", "outer"], ["t"])]),
      else_branch: body([], ["e"], [node("NoSuchOperator", ["never"], ["e"])]),
    });
    const nodes = [branches, node("Neg", ["x"], ["outer"]), node("NoSuchOperator", ["x"], ["never"])];
    expect(plain(run(nodes, "y", { c: bool([], [1]), x: float32([1], [3]) })).values).toEqual([-6]);
    expect(() => run(nodes, "y", { c: bool([], [0]), x: float32([1], [3]) })).toThrow(/NoSuchOperator/);
  });

  test("Loop carries state, collects outputs and stops by its condition", () => {
    const step = body(
      ["i", "go", "sum"],
      ["again", "sum2", "seen"],
      [
        node("Add", ["sum", "i"], ["sum2"]),
        node("Less", ["sum2", "limit"], ["again"]),
        node("Identity", ["sum2"], ["seen"]),
      ],
    );
    const loop = node("Loop", ["trips", "", "start"], ["total", "all"], { body: step });
    const feeds = { trips: int64([], [100]), start: int64([], [0]), limit: int64([], [6]) };
    expect(plain(run([loop], "total", feeds))).toEqual({ dims: [], values: [6] });
    expect(plain(run([loop], "all", feeds))).toEqual({ dims: [4], values: [0, 1, 3, 6] });
    expect(run([loop], "all", { ...feeds, trips: int64([], [0]) }).dims).toEqual([0]);
  });

  test("Scan goes backwards where it is told to", () => {
    const step = body(
      ["sum", "x"],
      ["sum2", "out"],
      [node("Add", ["sum", "x"], ["sum2"]), node("Identity", ["sum2"], ["out"])],
    );
    const scan = node("Scan", ["zero", "xs"], ["last", "sums"], {
      body: step,
      num_scan_inputs: 1,
      scan_input_directions: [1],
    });
    const feeds = { zero: float32([1], [0]), xs: float32([3, 1], [1, 2, 3]) };
    expect(plain(run([scan], "sums", feeds))).toEqual({ dims: [3, 1], values: [3, 5, 6] });
    expect(plain(run([scan], "last", feeds)).values).toEqual([6]);
  });
});

describe("a local function", () => {
  const leaky = createMessage("FunctionProto", {
    domain: "custom",
    name: "Leaky",
    input: ["x", "bias"],
    output: ["y"],
    attribute: ["slope"],
    opsetImport: [createMessage("OperatorSetIdProto", { domain: "", version: Long.fromNumber(17) })],
    node: [
      createMessage("NodeProto", {
        opType: "LeakyRelu",
        input: ["x"],
        output: ["y"],
        attribute: [createMessage("AttributeProto", { name: "alpha", refAttrName: "slope", type: 1 })],
      }),
    ],
  });

  test("takes its attributes from the node that calls it", () => {
    const call = node("custom:Leaky", ["x"], ["y"], { slope: { float: 0.5 } });
    const feeds = { x: float32([2], [-4, 4]) };
    expect(plain(run([call], "y", feeds, { functions: [leaky] })).values).toEqual([-2, 4]);
    expect(() => run([call], "y", feeds)).toThrow(/custom\.Leaky/);
  });

  test("that calls itself is stopped", () => {
    const endless = createMessage("FunctionProto", {
      domain: "custom",
      name: "Endless",
      input: ["x"],
      output: ["y"],
      node: [node("custom:Endless", ["x"], ["y"])],
    });
    const call = node("custom:Endless", ["x"], ["y"]);
    expect(() => run([call], "y", { x: list(1) }, { functions: [endless] })).toThrow(/nesting/);
  });
});

test("a mask as transformers writes it depends on the key alone", () => {
  const nodes = [
    node("Unsqueeze", ["attention_mask", "axes"], ["raw"]),
    node("Cast", ["raw"], ["float"], { to: DataType.FLOAT }),
    node("Sub", ["one", "float"], ["inverted"]),
    node("Mul", ["inverted", "min"], ["mask"]),
  ];
  const lowest = -3.4028234663852886e38;
  const mask = run(nodes, "mask", {
    attention_mask: int64([2, 3], [1, 1, 1, 1, 0, 0]),
    axes: list(1, 2),
    one: float32([], [1]),
    min: float32([], [lowest]),
  });
  expect(mask.dims).toEqual([2, 1, 1, 3]);
  expect(Array.from(mask.data, (value) => value < 0)).toEqual([false, false, false, false, true, true]);
  expect(mask.data[4]).toBe(lowest);
});
