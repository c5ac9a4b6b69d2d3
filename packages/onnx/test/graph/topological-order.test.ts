import { expect, test } from "vitest";
import { createMessage } from "../../src/model/schema.ts";
import { makeNode } from "../../src/graph/node.ts";
import { topologicalOrder } from "../../src/graph/topological-order.ts";
import { valuesRead } from "../../src/model/walk.ts";

const node = (reads: string[], makes: string) => makeNode("Sum", reads, [makes], { name: makes });
const names = (nodes: ReturnType<typeof node>[]) => nodes.map(({ name }) => name);

test("values are made before they are read", () => {
  const order = topologicalOrder([node(["c", "x"], "d"), node(["b"], "c"), node(["a"], "b"), node(["x"], "a")]);
  expect(names(order)).toEqual(["a", "b", "c", "d"]);
});

test("a sorted list stays as it is", () => {
  const sorted = [node(["x"], "z"), node(["x"], "a"), node(["z"], "m"), node(["a", "m"], "b")];
  expect(topologicalOrder(sorted)).toEqual(sorted);
});

test("what a body captures is read by its node", () => {
  const branch = createMessage("GraphProto", { name: "branch", node: [node(["outer", "inner"], "made")] });
  branch.initializer.push(createMessage("TensorProto", { name: "inner" }));
  const choice = makeNode("If", ["condition"], ["chosen"], {
    name: "if",
    attributes: { then_branch: { graph: branch } },
  });
  expect([...valuesRead(choice)].toSorted()).toEqual(["condition", "outer"]);
  expect(names(topologicalOrder([choice, node(["x"], "outer")]))).toEqual(["outer", "if"]);
});

const cyclic = () => topologicalOrder([node(["x"], "a"), node(["c"], "b"), node(["b"], "c")]);

test("a cycle is refused by the name of one of its nodes", () => {
  expect(cyclic).toThrow(expect.objectContaining({ code: "cyclic-graph" }));
  expect(cyclic).toThrow(/"b"/);
});

test("a hundred thousand nodes in the worst order take no recursion", () => {
  const chain = Array.from({ length: 100_000 }, (_, i) => node([`v${i}`], `v${i + 1}`));
  expect(topologicalOrder(chain.toReversed()).at(-1)!.name).toBe("v100000");
});
