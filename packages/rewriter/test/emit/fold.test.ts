import { MomentAccumulator, type HeadMoments } from "@favor/core/calibration";
import { Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { convertAttention, inspectAttention } from "../../src/model-attention.ts";
import { decodeModel } from "@favor/onnx";
import { encodeModel } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import type { ConvertedSite } from "../../src/report.ts";
import { float32, list, node } from "@favor/test-support/nodes";
import { floatOutputs, openSession, sampleFeeds, type Feeds } from "@favor/test-support/onnxruntime";
import { smallModel, valueInfo } from "@favor/test-support/small-model";
import { hasSharedZoo, sharedZoo } from "@favor/test-support/zoo/folder";
import { gaussians } from "./reference.ts";

/** Statistics of queries and keys that are neither centred nor alike, other ones for every head of every site. */
function momentsOf(model: ModelProto): HeadMoments[][] {
  const { sites } = inspectAttention(model);
  return sites.map(({ heads, headDim, site }) =>
    Array.from({ length: heads }, (_, head) => {
      const seed = 1 + 100 * site + 2 * head;
      const vectors = (which: number): Float64Array =>
        Float64Array.from(
          gaussians(300 * headDim, seed + which),
          (x, i) => x * (0.2 + 0.1 * (i % 4)) + 0.3 * (i % 3) - which,
        );
      const moments = new MomentAccumulator(headDim);
      moments.add(vectors(0), vectors(1));
      return moments.moments();
    }),
  );
}

/** Makes every projection's result an output as well, so that its weights may not be changed. */
function exposeProjections(model: ModelProto): ModelProto {
  const matrices = new Set(model.graph.initializer.filter(({ dims }) => dims.length === 2).map(({ name }) => name));
  const have = new Set(model.graph.output.map(({ name }) => name));
  for (const { opType, input, output } of model.graph.node) {
    const [name] = output as [string];
    if ((opType !== "MatMul" && opType !== "Gemm") || !matrices.has(input[1]!) || have.has(name)) continue;
    model.graph.output.push(createMessage("ValueInfoProto", { name }));
  }
  return model;
}

interface Comparison {
  readonly folded: (ConvertedSite["folded"] | undefined)[];
  /** The largest difference between the calibrated model with folded weights and without, relative to the largest value. */
  readonly difference: number;
}

async function compareFolding(load: () => ModelProto, feeds: Feeds): Promise<Comparison> {
  const moments = momentsOf(load());
  const convert = (model: ModelProto) => convertAttention(model, { moments, count: 64 });
  const folded = convert(load());
  const explicit = convert(exposeProjections(load()));
  for (const site of explicit.sites) expect(site.folded).toEqual({ query: false, key: false });
  const run = async (model: ModelProto): Promise<Float32Array> => {
    const session = await openSession(encodeModel(model));
    return (await floatOutputs(session, feeds)).get(model.graph.output[0]!.name)!;
  };
  const [one, two] = [await run(folded.model), await run(explicit.model)];
  const largest = one.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const apart = one.reduce((most, value, i) => Math.max(most, Math.abs(value - two[i]!)), 0);
  return { folded: folded.sites.map((site) => site.folded), difference: apart / largest };
}

const both = { query: true, key: true };
const neither = { query: false, key: false };

const width = 16;
const matrix = (rows: number, columns: number, seed: number) =>
  float32([rows, columns], Array.from(gaussians(rows * columns, seed, rows ** -0.5)));
const vector = (size: number, seed: number) => float32([size], Array.from(gaussians(size, seed, 0.5)));
const heads = (value: string, made: string) => [
  node("Reshape", [value, "split"], [`${made}_split`]),
  node("Transpose", [`${made}_split`], [made], { perm: [0, 2, 1, 3] }),
];
const number = (value: number) => ({ ...list(value), dims: [] });
const loadAlbert = () => decodeModel(sharedZoo.read("albert-dy-sdpa-op18-dyn.onnx"));

describe("projections", () => {
  const x = valueInfo("x", 1, ["batch", "length", width]);
  const attention = [
    node("Transpose", ["k"], ["k_columns"], { perm: [0, 1, 3, 2] }),
    node("MatMul", ["q", "k_columns"], ["products"]),
    node("Mul", ["products", "scale"], ["logits"]),
    node("Softmax", ["logits"], ["probabilities"], { axis: -1 }),
    node("MatMul", ["probabilities", "v"], ["out"]),
  ];
  const constants = { split: list(0, 0, 2, 8), scale: float32([], [8 ** -0.5]) };
  const feeds: Feeds = { x: new Tensor("float32", gaussians(2 * 9 * width, 77), [2, 9, width]) };
  const threeWeights = { wq: matrix(width, width, 1), wk: matrix(width, width, 2), wv: matrix(width, width, 3) };
  const threeBiases = { bq: vector(width, 4), bk: vector(width, 5), bv: vector(width, 6) };

  test("with biases", async () => {
    const nodes = ["q", "k", "v"].flatMap((side) => [
      node("MatMul", ["x", `w${side}`], [`${side}_product`]),
      node("Add", [`b${side}`, `${side}_product`], [`${side}_flat`]),
      ...heads(`${side}_flat`, side),
    ]);
    const load = () =>
      smallModel([...nodes, ...attention], { ...constants, ...threeWeights, ...threeBiases }, ["out"], [x]);
    const { folded, difference } = await compareFolding(load, feeds);
    expect(folded).toEqual([both]);
    expect(difference).toBeLessThan(1e-4);
  });

  test("without biases: there is nowhere to put a mean", async () => {
    const nodes = ["q", "k", "v"].flatMap((side) => [
      node("MatMul", ["x", `w${side}`], [`${side}_flat`]),
      ...heads(`${side}_flat`, side),
    ]);
    const load = () => smallModel([...nodes, ...attention], { ...constants, ...threeWeights }, ["out"], [x]);
    const { folded, difference } = await compareFolding(load, feeds);
    expect(folded).toEqual([neither]);
    expect(difference).toBeLessThan(1e-6);
  });

  test("the query scaled after its projection", async () => {
    const nodes = ["q", "k", "v"].flatMap((side) => [
      node("MatMul", ["x", `w${side}`], [`${side}_product`]),
      node("Add", [`${side}_product`, `b${side}`], [`${side}_sum`]),
      node("Mul", [`${side}_sum`, side === "q" ? "scale" : "unit"], [`${side}_flat`]),
      ...heads(`${side}_flat`, side),
    ]);
    const unscaled = attention.filter(({ opType }) => opType !== "Mul");
    const all = [
      ...nodes,
      ...unscaled.map((one) => (one.opType === "Softmax" ? { ...one, input: ["products"] } : one)),
    ];
    const more = { ...constants, ...threeWeights, ...threeBiases, unit: float32([], [1]) };
    const { folded, difference } = await compareFolding(() => smallModel(all, more, ["out"], [x]), feeds);
    expect(folded).toEqual([both]);
    expect(difference).toBeLessThan(1e-4);
  });

  test("Gemm with its weight transposed", async () => {
    const nodes = [
      node("Reshape", ["x", "rows"], ["x_rows"]),
      node("Shape", ["x"], ["x_shape"]),
      ...["q", "k", "v"].flatMap((side) => [
        node("Gemm", ["x_rows", `w${side}`, `b${side}`], [`${side}_rows`], { transB: 1 }),
        node("Reshape", [`${side}_rows`, "x_shape"], [`${side}_flat`]),
        ...heads(`${side}_flat`, side),
      ]),
    ];
    const more = { ...constants, ...threeWeights, ...threeBiases, rows: list(-1, width) };
    const { folded, difference } = await compareFolding(
      () => smallModel([...nodes, ...attention], more, ["out"], [x]),
      feeds,
    );
    expect(folded).toEqual([both]);
    expect(difference).toBeLessThan(1e-4);
  });

  test.each(["heads slowest", "query, key, value slowest"])("packed in one product, %s", async (order) => {
    const byHead = order === "heads slowest";
    const nodes = [
      node("MatMul", ["x", "w"], ["product"]),
      node("Add", ["product", "b"], ["packed"]),
      node("Reshape", ["packed", "parts"], ["packed_parts"]),
      // [batch, length, heads, 3, dim] or [batch, length, 3, heads, dim] to [3, batch, heads, length, dim]
      node("Transpose", ["packed_parts"], ["moved"], { perm: byHead ? [3, 0, 2, 1, 4] : [2, 0, 3, 1, 4] }),
      ...["q", "k", "v"].map((side, i) => node("Gather", ["moved", `n${i}`], [side], { axis: 0 })),
    ];
    const more = {
      ...constants,
      w: matrix(width, 3 * width, 8),
      b: vector(3 * width, 9),
      parts: byHead ? list(0, 0, 2, 3, 8) : list(0, 0, 3, 2, 8),
      n0: number(0),
      n1: number(1),
      n2: number(2),
    };
    const { folded, difference } = await compareFolding(
      () => smallModel([...nodes, ...attention], more, ["out"], [x]),
      feeds,
    );
    expect(folded).toEqual([both]);
    expect(difference).toBeLessThan(1e-4);
  });
});

describe.skipIf(!hasSharedZoo)("exporters (skipped if ../shared/zoo is absent)", () => {
  test.each([
    ["bert-ts-eager-op14-dyn", both],
    ["bert-ts-eager-op11-dyn", both],
    ["albert-dy-sdpa-op18-dyn", both],
    ["gpt2-ts-eager-op14-dyn", both],
    ["nnenc-dy-op18-dyn", both],
    ["hand_timm-ts-op17-dyn", both],
    // The bias is added after a reshape.
    ["TFbert-tf2onnx-op15-dyn", neither],
    // Rotated between projection and product: the map does not commute with that.
    ["llama-dy-sdpa-op18-dyn", neither],
    // One key for all heads, which have maps of their own.
    ["hand_mqa-ts-op17-dyn", { query: true, key: false }],
  ])("%s: folded weights give what explicit maps give", async (name, expected) => {
    const entry = sharedZoo.entries.find((candidate) => candidate.name === name)!;
    const load = () => decodeModel(sharedZoo.read(entry.model));
    const { folded, difference } = await compareFolding(load, sampleFeeds(entry)[0]!);
    for (const one of folded) expect(one).toEqual(expected);
    expect(difference).toBeLessThan(1e-4);
  });

  test("ALBERT's shared weights are copied for each layer, never changed", () => {
    const { sites, model } = convertAttention(loadAlbert(), { moments: momentsOf(loadAlbert()), keep: [1] });
    expect(sites.map(({ state }) => state)).toEqual(["linear", "unchanged"]);
    // The layer that stays reads the very weights of the original.
    const before = new Map(loadAlbert().graph.initializer.map((tensor) => [tensor.name, tensor]));
    const shared = model.graph.initializer.filter(({ name }) => before.has(name));
    expect(shared.length).toBeGreaterThan(10);
    for (const tensor of shared) expect(tensor).toEqual(before.get(tensor.name));
    const copies = model.graph.initializer.filter(({ name }) => name.includes("/calibrated"));
    expect(copies).toHaveLength(4);
    for (const { name } of copies) expect(before.has(name.replace("/calibrated", ""))).toBe(true);
  });
});
