import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import { Graph } from "@favor/onnx/graph";
import { probePair } from "@favor/onnx/graph";
import { makeContext } from "../../src/attention/context.ts";
import { dataProducts, findRegion } from "../../src/attention/wiring/region.ts";
import { RegionStructures } from "../../src/attention/proof/region-structure.ts";
import { hiddenStates, layerModel } from "@favor/test-support/layer";
import type { Layer } from "@favor/test-support/layer";

const length = 12;
const fixed = [{ ...hiddenStates, dims: [1, length, 16] }];

/** A constant mask [length, length] of its own: keys at most `reach` away from the query. */
function masked(b: Layer, logits: string, reach: number): string {
  const bias = Float32Array.from({ length: length * length }, (_, i) =>
    Math.abs((i % length) - Math.floor(i / length)) <= reach ? 0 : -1e9,
  );
  return b.softmax(b.op("Add", [logits, b.floats("mask", [length, length], bias)]));
}

const layers = (...reaches: number[]) =>
  layerModel((b) => reaches.reduce((x, reach) => b.attend((s) => masked(b, s, reach), x), "x"), { inputs: fixed });

function keys(...reaches: number[]): string[] {
  const graph = Graph.of(layers(...reaches));
  const pair = probePair(graph);
  if ("conflict" in pair) throw new Error(pair.conflict.message);
  const context = makeContext(graph, pair.first, pair.second);
  const products = dataProducts(context);
  const structures = new RegionStructures(context);
  const labels = { labels: "bhqk", batch: "bh", query: "q", key: "k" };
  return products.flatMap((product) => {
    const region = findRegion(context, product, new Map(products.map((p) => [p.node, p])));
    return region ? [structures.keyOf(region, { logits: labels, probabilities: labels })] : [];
  });
}

describe("layers of one model", () => {
  test("share a proof where their masks hold the same numbers, each in an initializer of its own", () => {
    const found = keys(length, 2, length, 2);
    expect(found).toHaveLength(4);
    expect([found[2], found[3]]).toEqual([found[0], found[1]]);
    expect(found[0]).not.toBe(found[1]);
  });

  test("have verdicts of their own where only a mask's numbers differ", () => {
    const { sites } = inspectAttention(layers(length, 2, length, 3));
    expect(sites.map(({ mask }) => mask.band?.before)).toEqual([undefined, 2, undefined, 3]);
  });
});

describe("a mask of 1,300 by 1,300 positions in a model of that length only", () => {
  const size = 1300;
  const model = (): ReturnType<typeof layerModel> =>
    layerModel(
      (b) => {
        const causal = Float32Array.from({ length: size * size }, (_, i) =>
          i % size > Math.floor(i / size) ? -1e9 : 0,
        );
        return b.attend((s) => b.softmax(b.op("Add", [s, b.floats("mask", [size, size], causal)])));
      },
      { inputs: [{ ...hiddenStates, dims: [1, size, 16] }] },
    );

  test("is refused by name where evaluating it costs more than the limit", () => {
    const { sites } = inspectAttention(model());
    expect(sites.map(({ reasons }) => reasons.map(({ code }) => code))).toEqual([["mask-not-evaluated"]]);
    expect(sites[0]!.reasons[0]!.message).toMatch(/too large to be evaluated.*maskOperations/);
  });

  test("is proved where more is allowed", () => {
    const { sites } = inspectAttention(model(), { maskOperations: 1e9 });
    expect(sites.map(({ mask, verdict }) => [mask.kind, verdict])).toEqual([["causal", "convert"]]);
  });
});
