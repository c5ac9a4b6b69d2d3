import { expect, test } from "vitest";
import { createMessage } from "@favor/onnx";
import { ancestors, Graph, makeNode } from "@favor/onnx/graph";

const graphOf = (nodes: ReturnType<typeof makeNode>[], outer?: Graph): Graph =>
  new Graph(createMessage("GraphProto", { node: nodes }), new Map([["", 17]]), outer);

test("a fresh name has the lowest number that is free, in the graphs around too", () => {
  const outer = graphOf([makeNode("Relu", ["x"], ["y_2"])]);
  const body = graphOf([makeNode("Relu", ["x"], ["y"])], outer);
  expect([body.freshName("y"), body.freshName("y"), outer.freshName("y")]).toEqual(["y_1", "y_3", "y"]);
  // Names that were handed out and never used come free when the graph is read again.
  outer.reindex();
  expect([outer.freshName("y"), outer.freshName("y")]).toEqual(["y", "y_1"]);
  body.reindex();
  expect(body.freshName("y")).toBe("y_3");
});

test("a hundred thousand names of one stem do not take each other's time", () => {
  const graph = graphOf([]);
  const start = process.cpuUsage();
  for (let i = 0; i < 100_000; i++) graph.freshName("y");
  const { user, system } = process.cpuUsage(start);
  expect((user + system) / 1e6).toBeLessThan(10);
  expect(graph.freshName("y")).toBe("y_100000");
});

test("a node may read more values than a call takes arguments", () => {
  const inputs = Array.from({ length: 200_000 }, (_, i) => `x${i}`);
  const graph = graphOf([]);
  graph.add([...inputs.map((name) => makeNode("Relu", ["x"], [name])), makeNode("Sum", inputs, ["sum"])]);
  graph.reindex();
  expect(ancestors(graph, ["sum"]).size).toBe(inputs.length + 1);
});
