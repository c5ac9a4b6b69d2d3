import Long from "long";
import { describe, expect, test } from "vitest";
import { GraphError } from "@favor/onnx/graph";
import { AttributeType, type AttributeProto, type FunctionProto, type ModelProto, type NodeProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { inlineFunctions } from "../../src/normalise/functions.ts";
import { CopiedModel } from "../../src/normalise/copy.ts";
import { node } from "@favor/test-support/nodes";

const opset = (domain: string, version: number) =>
  createMessage("OperatorSetIdProto", { domain, version: Long.fromNumber(version) });

function fn(
  name: string,
  input: string[],
  output: string[],
  nodes: NodeProto[],
  extra: Partial<FunctionProto> = {},
): FunctionProto {
  return createMessage("FunctionProto", {
    name,
    domain: "local",
    input,
    output,
    node: nodes,
    opsetImport: [opset("", 17), opset("local", 1)],
    ...extra,
  });
}

function model(nodes: NodeProto[], functions: FunctionProto[]): ModelProto {
  return createMessage("ModelProto", {
    opsetImport: [opset("", 17), opset("local", 1)],
    graph: createMessage("GraphProto", { node: nodes }),
    functions,
  });
}

const reference = (name: string, refAttrName: string): AttributeProto =>
  createMessage("AttributeProto", { name, refAttrName, type: AttributeType.INT });

const axisOf = (inlined: NodeProto): number | undefined =>
  inlined.attribute.find(({ name }) => name === "axis")?.i.toNumber();

describe("inlining local functions", () => {
  test("makes names unique and wires inputs and outputs", () => {
    const double = fn("Double", ["a"], ["b"], [node("Add", ["a", "a"], ["t"]), node("Relu", ["t"], ["b"])]);
    const calls = [node("local:Double", ["x"], ["y"]), node("local:Double", ["y"], ["z"])];
    const made = model(calls, [double]);
    expect(inlineFunctions(made)).toEqual([]);
    const { node: nodes } = made.graph;
    expect(nodes.map(({ opType }) => opType)).toEqual(["Add", "Relu", "Add", "Relu"]);
    expect(nodes[0]!.input).toEqual(["x", "x"]);
    expect([nodes[1]!.output[0], nodes[3]!.output[0]]).toEqual(["y", "z"]);
    expect(nodes[0]!.output[0]).not.toBe(nodes[2]!.output[0]);
    expect(made.functions).toEqual([]);
  });

  test("resolves references to the call's attribute, the default, or nothing", () => {
    const softmax = node("Softmax", ["a"], ["b"]);
    softmax.attribute.push(reference("axis", "which"));
    const byDefault = createMessage("AttributeProto", {
      name: "which",
      type: AttributeType.INT,
      i: Long.fromNumber(2),
    });
    const given = fn("Given", ["a"], ["b"], [softmax], { attribute: ["which"] });
    const defaulted = fn("Defaulted", ["a"], ["b"], [softmax], { attributeProto: [byDefault] });
    const calls = [
      node("local:Given", ["x"], ["y"], { which: 1 }),
      node("local:Given", ["x"], ["z"]),
      node("local:Defaulted", ["x"], ["w"]),
    ];
    const made = model(calls, [given, defaulted]);
    inlineFunctions(made);
    expect(made.graph.node.map(axisOf)).toEqual([1, undefined, 2]);
  });

  test("expands calls inside calls, and hands on an output that is an input", () => {
    const same = fn("Same", ["a"], ["a"], []);
    const outer = fn("Outer", ["p"], ["q"], [node("local:Same", ["p"], ["s"]), node("Neg", ["s"], ["q"])]);
    const made = model([node("local:Outer", ["x"], ["y"])], [outer, same]);
    inlineFunctions(made);
    expect(made.graph.node.map(({ opType }) => opType)).toEqual(["Identity", "Neg"]);
    expect(made.graph.node[1]!.input[0]).toBe(made.graph.node[0]!.output[0]);
  });

  test("leaves out what the call leaves out", () => {
    const clip = fn("Limit", ["a", "low"], ["b"], [node("Clip", ["a", "low"], ["b"])]);
    const made = model([node("local:Limit", ["x"], ["y"])], [clip]);
    inlineFunctions(made);
    expect(made.graph.node[0]!.input).toEqual(["x", ""]);
  });

  test("renames inside bodies", () => {
    const body = createMessage("GraphProto", {
      node: [node("Neg", ["t"], ["u"])],
      output: [createMessage("ValueInfoProto", { name: "u" })],
    });
    const branching = fn(
      "Branch",
      ["c", "a"],
      ["b"],
      [node("Relu", ["a"], ["t"]), node("If", ["c"], ["b"], { then_branch: body, else_branch: body })],
    );
    const made = model([node("local:Branch", ["cond", "x"], ["y"])], [branching]);
    inlineFunctions(made);
    const [relu, choice] = made.graph.node as [NodeProto, NodeProto];
    expect(choice.attribute[0]!.g!.node[0]!.input[0]).toBe(relu.output[0]);
    expect(body.node[0]!.input).toEqual(["t"]);
  });

  test("refuses recursion, and growth without bound", () => {
    const a = fn("A", ["x"], ["y"], [node("local:B", ["x"], ["y"])]);
    const b = fn("B", ["x"], ["y"], [node("local:A", ["x"], ["y"])]);
    expect(() => inlineFunctions(model([node("local:A", ["x"], ["y"])], [a, b]))).toThrow(
      expect.objectContaining({ code: "recursive-function" }) as GraphError,
    );
    const levels = Array.from({ length: 24 }, (_, i) =>
      fn(
        `F${i}`,
        ["x"],
        ["y"],
        [
          node(i === 0 ? "Neg" : `local:F${i - 1}`, ["x"], ["t"]),
          node(i === 0 ? "Neg" : `local:F${i - 1}`, ["t"], ["y"]),
        ],
      ),
    );
    expect(() => inlineFunctions(model([node("local:F23", ["x"], ["y"])], levels))).toThrow(
      expect.objectContaining({ code: "expansion-too-large" }) as GraphError,
    );
  });

  test("leaves functions of another opset as they are, and says so", () => {
    const old = fn("Old", ["a"], ["b"], [node("Softmax", ["a"], ["b"])], { opsetImport: [opset("", 11)] });
    const made = model([node("local:Old", ["x"], ["y"])], [old]);
    expect(inlineFunctions(made)).toEqual([
      expect.stringMatching(/"Old" is written in version 11 .* model in version 17/),
    ]);
    expect(made.graph.node[0]!.opType).toBe("Old");
    expect(made.functions).toEqual([old]);
  });

  test("works on a copy that shares weights", () => {
    const made = model([node("Neg", ["x"], ["y"])], []);
    made.graph.initializer.push(createMessage("TensorProto", { name: "w" }));
    const copy = new CopiedModel(made).model;
    copy.graph.node[0]!.input[0] = "z";
    expect(made.graph.node[0]!.input).toEqual(["x"]);
    expect(copy.graph.initializer[0]).toBe(made.graph.initializer[0]);
  });
});
