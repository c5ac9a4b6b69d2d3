import { expect, test } from "vitest";
import { makeContext } from "../../src/attention/context.ts";
import { drawInputs } from "../../src/attention/proof/probing-inputs.ts";
import { RegionEvaluation, regionInputs } from "../../src/attention/proof/region-evaluation.ts";
import { dataProducts, findRegion } from "../../src/attention/wiring/region.ts";
import { EvaluationLimitError } from "@favor/onnx/evaluate";
import { Graph } from "@favor/onnx/graph";
import { probePair } from "@favor/onnx/graph";
import { layerModel } from "@favor/test-support/layer";

const labels = { labels: "bhqk", batch: "bh", query: "q", key: "k" };

/** The evaluation of a layer with a padding mask, allowed `most` operations; and what they have been counted in. */
function evaluationOf(most: number) {
  const graph = Graph.of(layerModel((b) => b.attend((s) => b.softmax(b.op("Add", [s, b.paddingBias()])))));
  const pair = probePair(graph);
  if ("conflict" in pair) throw new Error(pair.conflict.message);
  const context = makeContext(graph, pair.first, pair.second, most);
  const products = dataProducts(context);
  const byNode = new Map(products.map((product) => [product.node, product]));
  const region = products.flatMap((product) => findRegion(context, product, byNode) ?? [])[0]!;
  const inputs = regionInputs(context, region, context.first);
  const ends = { logits: labels, probabilities: labels };
  const evaluation = new RegionEvaluation(context, region, inputs, ends, context.first);
  const values = evaluation.context(drawInputs(context, context.first, () => 0.5, "mixed", inputs.read));
  const { groups, queries, keys } = evaluation.shape;
  const run = () => evaluation.probabilities(new Float64Array(groups * queries * keys), values);
  return { run, spent: context.spent };
}

test("an evaluation that cannot end within the operations that are left is not begun: the fuzz's case 24673 of seed 7", () => {
  const unbounded = evaluationOf(Infinity);
  const before = unbounded.spent.operations;
  unbounded.run();
  const cost = unbounded.spent.operations - before;
  expect(cost).toBeGreaterThan(0);
  // Enough for two and a half.
  const { run, spent } = evaluationOf(before + Math.floor(2.5 * cost));
  run();
  run();
  const left = spent.operations;
  expect(run).toThrow(EvaluationLimitError);
  expect(spent.operations).toBe(left);
});
