import { expect, test } from "vitest";
import { makeContext } from "../../src/attention/context.ts";
import { probedLogits } from "../../src/attention/proof/probed-logits.ts";
import { dataProducts, findRegion } from "../../src/attention/wiring/region.ts";
import { Graph } from "@favor/onnx/graph";
import { probePair } from "@favor/onnx/graph";
import { EvaluationError } from "@favor/onnx/evaluate";
import { heads, hiddenStates, layerModel } from "@favor/test-support/layer";

/** The one region of a layer without a mask, and what is known of the layer's values. */
function region() {
  const graph = Graph.of(layerModel((b) => b.attend((s) => b.softmax(s)), { inputs: [hiddenStates] }));
  const pair = probePair(graph);
  if ("conflict" in pair) throw new Error(pair.conflict.message);
  const context = makeContext(graph, pair.first, pair.second);
  const products = dataProducts(context);
  const byNode = new Map(products.map((product) => [product.node, product]));
  const found = products.flatMap((product) => findRegion(context, product, byNode) ?? []);
  return { region: found[0]!, probe: context.first };
}

const labels = { labels: "bhqk", batch: "bh", query: "q", key: "k" };
const ends = { logits: labels, probabilities: labels };

test("logits are evaluated at the shape that the probe gives them", () => {
  const { region: attention, probe } = region();
  const dims = probe.info.get(attention.logits.output.value)!.dims;
  expect(dims[1]).toBe(heads);
  const [batch, , queries, keys] = probedLogits(attention, ["unmasked"], ends, probe);
  expect([batch, queries, keys]).toEqual([dims[0], dims[2], dims[3]]);
});

test("logits whose shape cannot be told at a length are refused by name: the fuzz's case 59933 of seed 7", () => {
  const { region: attention, probe } = region();
  const info = new Map(probe.info);
  info.delete(attention.logits.output.value);
  const evaluate = () => probedLogits(attention, [], ends, { ...probe, info });
  expect(evaluate).toThrow(EvaluationError);
  expect(evaluate).toThrow(/^MatMul .*the shape of its output cannot be told at every length/);
});
