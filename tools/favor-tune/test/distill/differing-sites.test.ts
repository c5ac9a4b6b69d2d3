import { DataType, makeTensor } from "@favor/onnx";
import { convertAttention, growModel, normaliseModel } from "@favor/rewriter";
import type { ConvertOptions } from "@favor/rewriter";
import { describe, expect, test } from "vitest";

import { differingSites } from "../../src/distill/differing-sites.ts";
import type { Difference } from "../../src/distill/differing-sites.ts";
import { hasSharedZoo } from "@favor/test-support/zoo/folder";
import { open, pair, tinyModel, zooModel } from "./models.ts";

async function differenceOf(path: string, options: ConvertOptions): Promise<Difference> {
  const { original, converted } = await pair(path, options);
  return differingSites(normaliseModel(original).model, converted);
}

const stems = (names: readonly { readonly name: string }[]): string[] =>
  names.map(({ name }) => name.replace(/^favor\//, "").replace(/_\d+$/, "")).toSorted();

test("a model differs from itself nowhere", async () => {
  const difference = differingSites(await open(tinyModel), await open(tinyModel));
  expect(difference.sites).toEqual([]);
  const { graph } = difference.converted.model;
  const values = graph.node.flatMap(({ output }) => output);
  expect(values.length).toBeGreaterThan(100);
  expect(values.filter((value) => difference.same(value) === undefined)).toEqual([]);
});

test("each of the four attentions of the tiny model is found, with its feature matrices and nothing else to learn", async () => {
  const { sites, same } = await differenceOf(tinyModel, { features: "positive", count: 8 });
  expect(sites.map(({ output }) => output)).toEqual(
    [0, 1, 2, 3].map((layer) => expect.stringMatching(new RegExp(String.raw`layer\.${layer}/.*MatMul_1_output_0$`))),
  );
  for (const { trainable, operands, output, nodes } of sites) {
    expect(stems(trainable)).toEqual(["norm_key", "omega_key", "omega_query"]);
    // query, key rows, squares of the keys, value and the mask
    expect(operands).toHaveLength(5);
    expect(same(output)).toBe(output);
    expect(nodes.every(({ opType }) => opType !== "Gemm" && opType !== "LayerNormalization")).toBe(true);
  }
});

test("layers that stay softmax are no sites, and values up to the first site are the same", async () => {
  const { sites, same, original } = await differenceOf(tinyModel, { features: "positive", count: 8, keep: [0, 2] });
  expect(sites).toHaveLength(2);
  const until = original.graph.nodes.findIndex(({ output }) => output.includes(sites[0]!.output));
  const before = original.graph.nodes.slice(0, until).filter(({ opType }) => opType === "Softmax");
  expect(before.map(({ output }) => same(output[0]!))).toEqual([before[0]!.output[0], undefined]);
});

test.each<[ConvertOptions["features"], readonly string[]]>([
  ["dense-exponential", ["omega_key", "omega_query"]],
  ["trigonometric", ["omega_key", "omega_query", "phase_key", "phase_query"]],
  ["relu", ["omega_key", "omega_query"]],
  ["hyperbolic", ["omega_key", "omega_query"]],
])("features %s learn %j", async (features, expected) => {
  const { sites } = await differenceOf(tinyModel, { features: features!, count: 8 });
  expect(sites).toHaveLength(4);
  for (const { trainable } of sites) expect(stems(trainable)).toEqual(expect.arrayContaining([...expected]));
});

test.each<[ConvertOptions["features"]]>([["elu"], ["exact"]])("%s has nothing to learn: no site", async (features) => {
  expect((await differenceOf(tinyModel, { features: features! })).sites).toEqual([]);
});

test("names of nodes and values do not matter, those of inputs do", async () => {
  const original = await open(tinyModel);
  const inputs = new Set(original.graph.input.map(({ name }) => name));
  const renamed = (value: string): string => (inputs.has(value) || value === "" ? value : `renamed/${value}`);
  const node = original.graph.node.map((each) => ({
    ...each,
    name: renamed(each.name),
    input: each.input.map(renamed),
    output: each.output.map(renamed),
  }));
  const initializer = original.graph.initializer.map((tensor) => ({ ...tensor, name: renamed(tensor.name) }));
  const { same } = differingSites(original, { ...original, graph: { ...original.graph, node, initializer } });
  const values = original.graph.node.flatMap(({ output }) => output);
  // Equal nodes of one graph stand for each other.
  expect(values.filter((value) => same(renamed(value)) === undefined)).toEqual([]);
  expect(same(renamed(values.at(-1)!))).toBe(values.at(-1));
});

test("a changed weight changes what depends on it, and is no site", async () => {
  const original = await open(tinyModel);
  const bias = original.graph.initializer.find(({ name }) => name.includes("layer.1.") && name.endsWith("query.bias"))!;
  const other = makeTensor(bias.name, [128], DataType.FLOAT, new Float32Array(128));
  const initializer = original.graph.initializer.map((tensor) => (tensor === bias ? other : tensor));
  const { sites, same } = differingSites(original, { ...original, graph: { ...original.graph, initializer } });
  const changed = original.graph.node.filter(({ output }) => same(output[0]!) === undefined);
  expect(changed[0]!.input).toContain(bias.name);
  expect(changed.at(-1)).toBe(original.graph.node.at(-1));
  expect(sites).toEqual([]);
});

test("grown position tables do not hide the sites", async () => {
  const original = await open(tinyModel);
  const grown = await open(tinyModel);
  growModel(grown, { maxLength: 1024 });
  const { model: converted } = convertAttention(grown, { features: "positive", count: 8 });
  const { sites, same } = differingSites(normaliseModel(original).model, converted);
  expect(sites).toHaveLength(4);
  expect(sites.flatMap(({ operands }) => operands).filter((value) => same(value) === undefined).length).toBeGreaterThan(
    0,
  );
});

describe.skipIf(!hasSharedZoo)(`exports of other models${hasSharedZoo ? "" : " (skipped: no ../shared/zoo)"}`, () => {
  test.each([
    ["albert-ts-eager-op14-dyn", "shared weights", 2],
    ["gpt2-ts-eager-op14-dyn", "causal", 2],
    ["bert-ortfuse-attention", "fused attention", 2],
    ["bert-ortfuse-fp16", "float16", 2],
    ["nnenc-dy-op18-dyn", "PyTorch's own encoder", 2],
  ])("%s (%s): %d sites", async (name, _what, count) => {
    const { sites } = await differenceOf(zooModel(name), { features: "positive", count: 8 });
    expect(sites).toHaveLength(count);
  });
});
