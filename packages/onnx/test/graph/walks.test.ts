import { describe, expect, test } from "vitest";
import { Graph } from "../../src/graph/graph.ts";
import { makeNode } from "../../src/graph/node.ts";
import { ancestors, madeLast, nodesAlongFirstInput } from "../../src/graph/walks.ts";
import type { GraphProto, NodeProto } from "../../src/model/proto.ts";
import { createMessage } from "../../src/model/schema.ts";
import { nestedGraphs, reachable, valuesAbove, valuesRead } from "../../src/model/walk.ts";

const node = (opType: string, reads: string[], ...makes: string[]): NodeProto =>
  makeNode(opType, reads, makes, { name: makes[0]! });
const body = (name: string, nodes: NodeProto[], output: string): GraphProto =>
  createMessage("GraphProto", { name, node: nodes, output: [createMessage("ValueInfoProto", { name: output })] });
const choice = (makes: string, ...branches: GraphProto[]): NodeProto =>
  makeNode("If", ["condition"], [makes], {
    name: makes,
    attributes: Object.fromEntries(branches.map((graph) => [graph.name, { graph }])),
  });
const graphOf = (...nodes: NodeProto[]): Graph => new Graph(body("main", nodes, "out"), new Map([["", 17]]));
const names = (nodes: Iterable<NodeProto>): string[] => [...nodes].map(({ name }) => name);

describe("ancestors", () => {
  const graph = graphOf(
    node("Split", ["x"], "left", "right"),
    node("Shape", ["big"], "shape"),
    node("Exp", ["left"], "e"),
    node("Reshape", ["right", "shape"], "r"),
    node("Add", ["e", "r"], "out"),
  );

  test("come depth first, the last input first, each once; a shape is read without its value's contents", () => {
    expect(names(ancestors(graph, ["out"]))).toEqual(["out", "r", "shape", "left", "e"]);
  });

  test("end before the values that the caller names", () => {
    expect(names(ancestors(graph, ["out"], (value) => value === "r"))).toEqual(["out", "e", "left"]);
  });

  test("of a value in a body include the nodes outside that make what it captures", () => {
    const inner = body("then_branch", [node("Neg", ["outside"], "inside")], "inside");
    const outer = graphOf(node("Exp", ["x"], "outside"), choice("out", inner));
    expect(names(ancestors(outer.body(inner), ["inside"]))).toEqual(["inside", "outside"]);
    expect(names(ancestors(outer, ["out"]))).toEqual(["out", "outside"]);
  });
});

test("the way up hands out inputs too, and follows what the caller says that a node reads", () => {
  const graph = graphOf(node("Mul", ["x", "scale"], "scaled"), node("Add", ["scaled", "bias"], "out"));
  const way = valuesAbove(
    ["out"],
    (value) => graph.producer(value),
    ({ input }) => input.slice(0, 1),
  );
  expect([...way].map(([value, made]) => [value, made?.opType])).toEqual([
    ["out", "Add"],
    ["scaled", "Mul"],
    ["x", undefined],
  ]);
});

const children = (at: number): number[] => [2 * at, 2 * at + 1].filter((to) => to < 8);

test("what is reachable comes depth first and each once, up to a limit", () => {
  expect([...reachable([1], children)]).toEqual([1, 3, 7, 6, 2, 5, 4]);
  expect([...reachable([1, 1], () => [1])]).toEqual([1]);
  // Seen are 1; 1 to 3; 1 to 3, 6 and 7.
  expect([...reachable([1], children, 5)]).toEqual([1, 3]);
});

const isLayout = ({ opType }: NodeProto): boolean => opType !== "MatMul";

test("the way along first inputs ends before a node that is not passed", () => {
  const graph = graphOf(
    node("MatMul", ["x", "w"], "product"),
    node("Reshape", ["product", "shape"], "heads"),
    node("Transpose", ["heads"], "out"),
  );
  expect(names(nodesAlongFirstInput(graph, "out", isLayout))).toEqual(["out", "heads"]);
});

test("the value made last is the one furthest down the graph", () => {
  const graph = graphOf(node("Exp", ["x"], "a"), node("Exp", ["a"], "b"));
  expect(madeLast(graph, ["x", "b", "a"])).toBe("b");
  expect(madeLast(graph, ["y", "x"])).toBe("y");
});

describe("bodies in bodies", () => {
  const innermost = body("then_branch", [node("Add", ["middle", "far"], "deep")], "deep");
  const inner = body("then_branch", [node("Neg", ["near"], "middle"), choice("taken", innermost)], "taken");
  const outer = choice("out", inner);

  test("are visited at any depth, also those that the caller puts in meanwhile", () => {
    expect([...nestedGraphs([graphOf(outer).proto])].map(({ node: nodes }) => nodes.length)).toEqual([1, 2, 1]);
    const replaced = { ...inner, node: [] };
    const visited: GraphProto[] = [];
    for (const graph of nestedGraphs([inner])) {
      visited.push(graph);
      graph.node = graph.node.map((made) => (made.opType === "If" ? choice("taken", replaced) : made));
    }
    expect(visited).toEqual([inner, replaced]);
  });

  test("capture what none of them defines", () => {
    const scoped = choice(
      "out",
      body("then_branch", [node("Neg", ["near"], "middle"), choice("taken", innermost)], "taken"),
    );
    expect([...valuesRead(scoped)]).toEqual(["condition", "near", "far"]);
  });

  test("capture a value of a name that only another branch defines", () => {
    const branches = [body("then_branch", [node("Exp", ["x"], "y")], "y"), body("else_branch", [], "y")];
    expect([...valuesRead(choice("out", ...branches))].toSorted()).toEqual(["condition", "x", "y"]);
  });
});
