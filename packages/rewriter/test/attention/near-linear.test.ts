import { afterEach, describe, expect, test } from "vitest";
import type { ModelProto } from "@favor/onnx";
import { Graph, makeNode } from "@favor/onnx/graph";
import { layerModel, type Layer } from "@favor/test-support/layer";
import { countSteps, makeContext, wiringSteps } from "../../src/attention/context.ts";
import { inspectAttention } from "../../src/model-attention.ts";
import { mostNodes } from "../../src/normalise/normalise.ts";

const { producer, consumers, owner, place } = Graph.prototype;

afterEach(() => {
  Object.assign(Graph.prototype, { producer, consumers, owner, place });
});

/** How often a search for attention asks who makes or reads a value, and where a node stands. */
function questions(model: ModelProto): number {
  let count = 0;
  const counted = <A extends unknown[], R>(method: (this: Graph, ...given: A) => R) =>
    function (this: Graph, ...given: A): R {
      count++;
      return method.apply(this, given);
    };
  Object.assign(Graph.prototype, {
    producer: counted(producer),
    consumers: counted(consumers),
    owner: counted(owner),
    place: counted(place),
  });
  inspectAttention(model);
  Object.assign(Graph.prototype, { producer, consumers, owner, place });
  return count;
}

const softmax =
  (b: Layer, bias: string) =>
  (logits: string): string =>
    b.softmax(b.op("Add", [logits, bias]));

/** Layers one above the other; `of` writes one. */
const chain = (of: (b: Layer, x: string) => string) => (n: number) =>
  layerModel((b) => Array.from({ length: n }).reduce<string>((x) => b.op("Add", [x, of(b, x)]), "x"));

/** Products that all share a factor, and a softmax whose probabilities are read `n` times. */
function sharedFactors(n: number): ModelProto {
  return layerModel((b) => {
    const turned = b.transpose("x", [0, 2, 1]);
    let x = "x";
    for (let i = 0; i < n; i++) x = b.op("MatMul", [b.softmax(b.op("MatMul", [x, turned])), "x"]);
    const probabilities = b.softmax(b.op("MatMul", [x, turned]));
    return b.op(
      "Sum",
      Array.from({ length: n }, () => b.op("MatMul", [probabilities, "x"])),
    );
  });
}

describe("the search for attention takes time linear in the model", () => {
  const models: Record<string, (n: number) => ModelProto> = {
    "masks of their own": chain((b, x) => b.attend(softmax(b, b.paddingBias()), x)),
    "products of weights between": chain((b, x) => b.linear(b.op("Relu", [b.linear(b.attend(b.softmax.bind(b), x))]))),
    "masks that depend on the content": chain((b, x) => {
      const sum = b.op("ReduceSum", [b.linear(x), b.integers([2])], { keepdims: { int: 0 } });
      return b.attend(softmax(b, b.unsqueeze(sum, [1, 2])), x);
    }),
    "factors that are shared": sharedFactors,
  };
  test.each(Object.entries(models))("%s", (_, make) => {
    const [few, many] = [questions(make(25)), questions(make(100))];
    expect(few).toBeGreaterThan(100);
    expect(many / few).toBeLessThan(5);
  });
});

describe("a graph too large to look through is refused", () => {
  test("by the number of its nodes", () => {
    const model = layerModel((b) => b.op("Relu", ["x"]));
    expect(inspectAttention(model).sites).toEqual([]);
    for (let i = 0; i < mostNodes; i++) model.graph.node.push(makeNode("Relu", ["x"], [`v${i}`]));
    expect(() => inspectAttention(model)).toThrow(expect.objectContaining({ code: "graph-too-large" }));
  });

  test("by the steps that its wiring takes", () => {
    const graph = Graph.of(layerModel((b) => b.op("Relu", ["x"])));
    const sizes = { batch: 1, length: 2, distinct: false };
    const context = makeContext(graph, { sizes, inputs: new Map(), info: new Map(), bodies: new Map() }, undefined);
    countSteps(context, wiringSteps);
    expect(() => countSteps(context)).toThrow(expect.objectContaining({ code: "graph-too-large" }));
  });
});
