import { describe, expect, test } from "vitest";
import { convertAttention, findAttention, inspectAttention } from "../../src/model-attention.ts";
import { DataType, type ModelProto } from "@favor/onnx";
import { nestedGraphs } from "@favor/onnx/graph";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  outputDifference,
  reEmissionDifference,
  type Layer,
  type LayerOptions,
} from "@favor/test-support/layer";
import { both, count, int32, lone, microsoft, packed, projected, refusedOperators } from "./refused-operators.ts";

interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  readonly mask: "none" | "padding" | "causal" | "padding and causal";
}

const rawMask = { inputs: [hiddenStates, int32("mask", ["batch", "length"])] };
const lengths = { inputs: [hiddenStates, int32("mask", ["batch"])] };

const cases: Case[] = [
  { name: "Attention of onnxruntime", mask: "none", ...lone, write: (b) => packed(b, []) },
  { name: "Attention with a mask", mask: "padding", ...rawMask, write: (b) => packed(b, ["mask"]) },
  { name: "Attention with lengths", mask: "padding", ...lengths, write: (b) => packed(b, ["mask"]) },
  {
    name: "Attention with ends and starts",
    mask: "padding",
    ...lengths,
    write: (b) => packed(b, [b.concat(["mask", b.op("Sub", ["mask", "mask"])], 0)]),
  },
  {
    name: "Attention, unidirectional",
    mask: "causal",
    ...lone,
    write: (b) => packed(b, [], { unidirectional: { int: 1 } }),
  },
  {
    name: "MultiHeadAttention with biases of its own and a mask",
    mask: "padding",
    ...rawMask,
    write: (b) => {
      const [q, k, v] = [0, 1, 2].map(() => b.op("MatMul", ["x", b.weights([hidden, hidden])])) as [
        string,
        string,
        string,
      ];
      const inputs = [q, k, v, b.weights([3 * hidden]), "mask"];
      return b.op("MultiHeadAttention", inputs, count, { domain: microsoft });
    },
  },
  {
    name: "MultiHeadAttention, heads of key and value apart",
    mask: "none",
    ...lone,
    write: (b) =>
      b.op("MultiHeadAttention", [b.linear("x"), b.project("x"), b.project("x")], count, { domain: microsoft }),
  },
  {
    name: "MultiHeadAttention with an additive bias that hides padding",
    mask: "padding",
    write: (b) => {
      const length = b.dimension("x", 1);
      const shape = b.concat([b.integers([1, 1]), length, b.integers([1])], 0);
      const bias = b.op("Expand", [b.paddingBias(), shape]);
      return b.op("MultiHeadAttention", [...projected(b), "", "", bias], count, { domain: microsoft });
    },
  },
  {
    name: "MultiHeadAttention with lengths and a scale",
    mask: "padding",
    ...lengths,
    write: (b) =>
      b.op(
        "MultiHeadAttention",
        [...projected(b), "", "mask"],
        { ...count, scale: { float: 0.7 } },
        { domain: microsoft },
      ),
  },
  {
    name: "MultiHeadAttention, unidirectional",
    mask: "causal",
    ...lone,
    write: (b) =>
      b.op("MultiHeadAttention", projected(b), { ...count, unidirectional: { int: 1 } }, { domain: microsoft }),
  },
  {
    name: "Attention of opset 23, heads in the last axis",
    mask: "none",
    opset: 23,
    ...lone,
    write: (b) => b.op("Attention", projected(b), both),
  },
  {
    name: "Attention of opset 23, causal",
    mask: "causal",
    opset: 23,
    ...lone,
    write: (b) => b.op("Attention", projected(b), { ...both, is_causal: { int: 1 } }),
  },
  {
    name: "Attention of opset 23 with a boolean mask, heads apart",
    mask: "padding",
    opset: 23,
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      // onnxruntime wants a row for every query.
      const shape = b.concat([b.integers([1, 1]), b.dimension("x", 1), b.integers([1])], 0);
      const keep = b.op("Expand", [b.cast(b.unsqueeze("mask", [1, 2]), DataType.BOOL), shape]);
      return b.merge(b.op("Attention", [q, k, v, keep]));
    },
  },
  {
    name: "Attention of opset 23 with an additive mask and shared heads",
    mask: "padding",
    opset: 23,
    write: (b) => {
      const [q, k, v] = [b.linear("x", 2 * hidden), b.linear("x"), b.linear("x")];
      const attributes = { q_num_heads: { int: 2 * heads }, kv_num_heads: { int: heads }, scale: { float: 0.3 } };
      const length = b.dimension("x", 1);
      const shape = b.concat([b.integers([1, 1]), length, b.integers([1])], 0);
      const mask = b.op("Expand", [b.paddingBias(), shape]);
      return b.op("Attention", [q, k, v, mask], attributes);
    },
  },
];

/** onnxruntime needs float32 in `x` alone; layers of 2 x hidden columns come out as they are. */
const model = ({ write, ...options }: Case): ModelProto => layerModel(write, { opset: 17, ...options });

describe("fused attention operators that may be replaced", () => {
  test.each(cases)("$name", async (entry) => {
    const { sites } = inspectAttention(model(entry));
    expect(sites.flatMap(({ reasons }) => reasons)).toEqual([]);
    expect(sites.map((site) => site.mask.kind)).toEqual([entry.mask]);
    expect(await reEmissionDifference(() => model(entry), entry.mask.includes("padding"))).toBeLessThan(2e-6);
  });
});

describe("fused attention operators before opset 11, which has no Range", () => {
  const causal = cases.find(({ name }) => name === "Attention, unidirectional")!;
  const padded = cases.find(({ name }) => name === "Attention with lengths")!;

  test.each([causal, padded])("$name", async (entry) => {
    const write = (b: Layer): string => {
      const made = entry.write(b);
      b.nodes.at(-1)!.name = "attention";
      return made;
    };
    const older = (): ModelProto => model({ ...entry, write, opset: 10 });
    const { model: plain, taps } = findAttention(older()).tapSamples();
    expect(taps).toHaveLength(1);
    expect(plain.graph.node.map(({ opType }) => opType)).not.toContain("Range");
    expect(await outputDifference(older(), plain, entry === padded)).toBeLessThan(2e-6);
  });
});
describe("fused attention operators that stay", () => {
  test.each(refusedOperators)("$name: $code", ({ write, code, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.map(({ reasons }) => reasons.map((reason) => reason.code))).toEqual([[code]]);
  });

  test("are put back where their layer is kept", () => {
    const made = layerModel(
      (b) =>
        b.op("Add", [
          packed(b, []),
          b.op("Attention", [packed(b, []), b.weights([hidden, 3 * hidden]), b.weights([3 * hidden])], count, {
            domain: microsoft,
          }),
        ]),
      lone,
    );
    const { model: converted } = convertAttention(made, { features: "exact", keep: [1] });
    // Two sites are computed by blocks, each in the body of a Scan.
    const operators = [...nestedGraphs([converted.graph])].flatMap(({ node }) => node.map(({ opType }) => opType));
    expect(operators.filter((type) => type === "Attention")).toHaveLength(1);
    expect(operators.filter((type) => type === "Softmax")).toHaveLength(2);
  });
});

const mixture = (b: Layer, parts: number): string =>
  b.reshape(b.linear("x", parts * hidden), [0, 0, heads, parts, dim]);

/** Part `at` of [batch, length, heads, parts, dim] as [batch, heads, length, dim]. */
const unpacked = (b: Layer, mixed: string, at: number): string =>
  b.transpose(b.squeeze(b.slice(mixed, 3, at, at + 1), [3]), [0, 2, 1, 3]);

// onnxruntime runs these two on GPUs alone; the reference is written out.
describe("MultiHeadAttention with packed inputs", () => {
  test("query, key and value", async () => {
    const packedModel = layerModel(
      (b) => b.op("MultiHeadAttention", [mixture(b, 3), "", "", "", "mask"], count, { domain: microsoft }),
      rawMask,
    );
    const plain = layerModel((b) => {
      const mixed = mixture(b, 3);
      const [q, k, v] = [unpacked(b, mixed, 0), unpacked(b, mixed, 1), unpacked(b, mixed, 2)];
      return b.merge(b.op("MatMul", [b.softmax(b.op("Add", [b.logits(q, k), b.paddingBias()])), v]));
    }, rawMask);
    const { model: converted, sites } = convertAttention(packedModel, { features: "exact" });
    expect(sites.map(({ state, mask }) => [state, mask.kind])).toEqual([["exact by block", "padding"]]);
    expect(await outputDifference(plain, converted, true)).toBeLessThan(2e-6);
  });

  test("key and value", async () => {
    const packedModel = layerModel(
      (b) => b.op("MultiHeadAttention", [b.linear("x"), mixture(b, 2)], count, { domain: microsoft }),
      lone,
    );
    const plain = layerModel((b) => {
      const q = b.transpose(b.reshape(b.linear("x"), [0, 0, heads, dim]), [0, 2, 1, 3]);
      const mixed = mixture(b, 2);
      return b.merge(b.op("MatMul", [b.softmax(b.logits(q, unpacked(b, mixed, 0))), unpacked(b, mixed, 1)]));
    }, lone);
    const { model: converted, sites } = convertAttention(packedModel, { features: "exact" });
    expect(sites.map(({ state, mask }) => [state, mask.kind])).toEqual([["exact by block", "none"]]);
    expect(await outputDifference(plain, converted, false)).toBeLessThan(2e-6);
  });
});

const rotaryWidth = 16;

/** One key and value head for all queries; half of the tokens of the second row count. */
function groupedQueries(b: Layer, isPacked: boolean, rotates: boolean, window?: number): string {
  const width = heads * rotaryWidth;
  const attributes = {
    ...count,
    kv_num_heads: { int: 1 },
    ...(rotates && { do_rotary: { int: 1 } }),
    ...(window !== undefined && { local_window_size: { int: window } }),
  };
  const tokens = isPacked
    ? [b.linear("x", width + 2 * rotaryWidth), "", ""]
    : [b.linear("x", width), b.linear("x", rotaryWidth), b.linear("x", rotaryWidth)];
  const angles = Array.from({ length: 32 * 8 }, (_, i) => (i >> 3) / 10 ** ((i % 8) / 4));
  const caches = [Math.cos, Math.sin].map((f) => b.floats("cache", [32, 8], angles.map(f)));
  const last = b.op("Sub", ["mask", b.cast(b.integer(1), DataType.INT32)]);
  const total = b.cast(b.squeeze(b.dimension("x", 1), [0]), DataType.INT32);
  const inputs = [...tokens, "", "", last, total, ...(rotates ? caches : [])];
  return b.ops("GroupQueryAttention", inputs, 3, attributes, microsoft)[0]!;
}

describe("grouped queries without a past are causal, padded by their lengths", () => {
  test.each([
    { packed: false, rotates: false },
    { packed: true, rotates: false },
    { packed: false, rotates: true },
    { packed: true, rotates: true },
  ])("packed $packed, rotary positions $rotates", async ({ packed: isPacked, rotates }) => {
    const made = () => layerModel((b) => groupedQueries(b, isPacked, rotates), lengths);
    const { sites } = inspectAttention(made());
    expect(sites.flatMap(({ reasons }) => reasons)).toEqual([]);
    expect(sites).toMatchObject([{ heads, headDim: rotaryWidth, mask: { kind: "padding and causal" } }]);
    expect(await reEmissionDifference(made, true)).toBeLessThan(2e-6);
  });

  test.each([4, 5])("within a window of %d: a band, with the operator's own numbers", async (window) => {
    const made = () => layerModel((b) => groupedQueries(b, false, true, window), lengths);
    const { model: converted, sites } = convertAttention(made());
    expect(sites).toMatchObject([{ state: "band", mask: { band: { before: window - 1, after: 0 } } }]);
    expect(await outputDifference(made(), converted, true)).toBeLessThan(2e-6);
  });
});

describe("a window of Attention's own is a band", () => {
  // onnxruntime 1.30 does not run opset 27, which has these attributes: the reference is a mask.
  const windows = [
    { before: 2, after: 3, attributes: { left_window_size: { int: 2 }, right_window_size: { int: 3 } } },
    { before: 4, after: 0, attributes: { left_window_size: { int: 4 }, is_causal: { int: 1 } } },
    { before: 1, after: 0, attributes: { left_window_size: { int: 1 }, right_window_size: { int: 0 } } },
  ];
  test.each(windows)("$before in front and $after behind", async ({ before, after, attributes }) => {
    const operator = layerModel((b) => b.op("Attention", projected(b), { ...both, ...attributes }), {
      ...lone,
      opset: 27,
    });
    const { model: converted, sites } = convertAttention(operator);
    expect(sites).toMatchObject([{ state: "band", mask: { band: { before, after } } }]);
    const masked = layerModel(
      (b) => {
        const keep = b.op("And", [
          b.op("Less", [b.distances(), b.integer(after + 1)]),
          b.op("Less", [b.integer(-before - 1), b.distances()]),
        ]);
        const [query, key, value] = projected(b);
        return b.op("Attention", [query, key, value, keep], both);
      },
      { ...lone, opset: 23 },
    );
    converted.opsetImport.forEach((one) => one.domain === "" && (one.version = masked.opsetImport[0]!.version));
    expect(await outputDifference(masked, converted, false)).toBeLessThan(2e-6);
  });
});

test("inspecting changes nothing", () => {
  const made = layerModel((b) => packed(b, ["mask"]), {
    inputs: [hiddenStates, { ...paddingMask, dataType: DataType.INT32 }],
  });
  const before = made.graph.node.map(({ opType }) => opType);
  inspectAttention(made);
  expect(made.graph.node.map(({ opType }) => opType)).toEqual(before);
});
