import { describe, expect, test } from "vitest";
import { inspectAttention } from "../../src/model-attention.ts";
import type { AttributeValue } from "@favor/onnx/graph";
import { DataType } from "@favor/onnx";
import {
  dim,
  groupedQueries,
  heads,
  hidden,
  hiddenStates,
  layerModel,
  paddingMask,
  reEmissionDifference,
} from "@favor/test-support/layer";
import type { Layer, LayerInput, LayerOptions } from "@favor/test-support/layer";
import { headsSlowest, soft } from "./heads-slowest.ts";

interface Case extends LayerOptions {
  readonly name: string;
  readonly write: (layer: Layer) => string;
  readonly mask: "none" | "padding" | "causal" | "padding and causal";
  readonly sites?: number;
}

const lone = { inputs: [hiddenStates] };
const int32Mask: LayerInput = { name: "mask", dataType: DataType.INT32, dims: ["batch", "length"] };
const integerMask = (...dims: LayerInput["dims"]): LayerInput => ({ name: "mask", dataType: DataType.INT64, dims });
const einsum = (b: Layer, equation: string, ...inputs: string[]): string =>
  b.op("Einsum", inputs, { equation: { string: equation } });
const keepRows = (b: Layer): string => b.unsqueeze(b.cast("mask", DataType.BOOL), [1, 2]);
const keepNumbers = (b: Layer): string => b.unsqueeze(b.cast("mask", DataType.FLOAT), [1, 2]);

/** Rows of `x` in two dimensions, as TensorFlow and JAX multiply them. */
function rows2D(b: Layer, x: string = "x"): string {
  return b.reshape(x, [-1, hidden]);
}

/** [batch, heads, length, dim] of a Gemm on rows. */
function gemmHeads(b: Layer): string {
  const made = b.op("Gemm", [rows2D(b), b.weights([hidden, hidden]), b.weights([hidden])]);
  const shape = b.concat([b.dimension("x", 0), b.dimension("x", 1), b.integers([heads, dim])], 0);
  return b.transpose(b.op("Reshape", [made, shape]), [0, 2, 1, 3]);
}

const cases: Case[] = [
  {
    name: "tf2onnx: softmax of logits flattened to two dimensions",
    mask: "padding",
    opset: 12,
    write: (b) =>
      b.attend((s) => {
        const logits = b.op("Add", [s, b.paddingBias()]);
        const flat = b.op("Reshape", [logits, b.concat([b.integers([-1]), b.dimension("x", 1)], 0)]);
        return b.op("Reshape", [soft(b, flat, 1), b.op("Shape", [logits])]);
      }),
  },
  {
    name: "tf2onnx: query heads that share a key head folded into the queries' axis, padded",
    mask: "padding",
    write: (b) => groupedQueries(b, (s) => b.softmax(b.op("Add", [s, b.unsqueeze(b.paddingBias(), [1])]))),
  },
  {
    name: "Keras: projections and products by Einsum, keys on the left",
    mask: "padding",
    write: (b) => {
      const project = (): string => einsum(b, "abc,cde->abde", "x", b.weights([hidden, heads, dim]));
      const [q, k, v] = [b.op("Mul", [project(), b.scalar(0.35)]), project(), project()];
      const s = b.op("Add", [einsum(b, "aecd,abcd->acbe", k, q), b.paddingBias()]);
      const context = einsum(b, "acbe,aecd->abcd", soft(b, s), v);
      return einsum(b, "abcd,cde->abe", context, b.weights([heads, dim, hidden]));
    },
  },
  {
    name: "KerasHub: Einsum with heads before positions",
    mask: "padding",
    write: (b) => {
      const project = (): string => einsum(b, "abc,cde->abde", "x", b.weights([hidden, heads, dim]));
      const s = b.op("Mul", [einsum(b, "btnh,bsnh->bnts", project(), project()), b.scalar(0.35)]);
      const p = soft(b, b.masked(keepRows(b), s));
      return b.reshape(einsum(b, "bnts,bsnh->btnh", p, project()), [0, 0, hidden]);
    },
  },
  {
    name: "Flax: Einsum with an ellipsis",
    mask: "padding",
    write: (b) => {
      const rows = (): string => b.reshape(b.linear("x"), [0, 0, heads, dim]);
      const s = einsum(b, "...qhd,...khd->...hqk", b.op("Mul", [rows(), b.scalar(0.35)]), rows());
      const p = soft(b, b.masked(keepRows(b), s));
      return b.reshape(einsum(b, "...hqk,...khd->...qhd", p, rows()), [0, 0, hidden]);
    },
  },
  {
    name: "JAX: Gemm on rows, the mask after the softmax",
    mask: "padding",
    write: (b) => {
      const s = b.logits(gemmHeads(b), gemmHeads(b));
      const kept = b.op("Mul", [soft(b, s), keepNumbers(b)]);
      return b.merge(b.op("MatMul", [b.op("Div", [kept, b.reduceSum(kept, 3)]), gemmHeads(b)]));
    },
  },
  {
    name: "padding told by Equal of ids, branches swapped",
    mask: "padding",
    inputs: [hiddenStates, int32Mask],
    write: (b) =>
      b.attend((s) => {
        const isPadding = b.unsqueeze(b.op("Equal", ["mask", b.cast(b.integer(0), DataType.INT32)]), [1, 2]);
        return soft(b, b.op("Where", [isPadding, b.scalar(-1e9), s]));
      }),
  },
  {
    name: "logits times the mask, less 1e9 where it is 0",
    mask: "padding",
    write: (b) => b.attend((s) => soft(b, b.op("Add", [b.op("Mul", [s, keepNumbers(b)]), b.paddingBias()]))),
  },
  {
    name: "the logarithm of a mask of true and false",
    mask: "padding",
    inputs: [hiddenStates, { ...paddingMask, dataType: DataType.BOOL }],
    write: (b) => b.attend((s) => soft(b, b.op("Add", [s, b.op("Log", [keepNumbers(b)])]))),
  },
  {
    name: "lengths compared with positions",
    mask: "padding",
    inputs: [hiddenStates, { name: "mask", dataType: DataType.INT32, dims: ["batch"] }],
    write: (b) =>
      b.attend((s) => {
        const counted = b.unsqueeze(b.cast("mask", DataType.INT64), [1]);
        return soft(b, b.masked(b.unsqueeze(b.op("Less", [b.unsqueeze(b.positions(), [0]), counted]), [1, 2]), s));
      }),
  },
  {
    name: "causal and padding masks added one after the other",
    mask: "padding and causal",
    write: (b) =>
      b.attend((s) => {
        const future = b.cast(b.op("Greater", [b.distances(), b.integer(0)]), DataType.FLOAT);
        const bias = b.op("Mul", [future, b.scalar(-1e9)]);
        return soft(b, b.op("Add", [b.op("Add", [s, bias]), b.paddingBias()]));
      }),
  },
  {
    name: "the lower of two masks",
    mask: "padding and causal",
    write: (b) =>
      b.attend((s) => {
        const future = b.cast(b.op("Greater", [b.distances(), b.integer(0)]), DataType.FLOAT);
        const bias = b.op("Mul", [future, b.scalar(-1e9)]);
        return soft(b, b.op("Add", [s, b.op("Min", [bias, b.paddingBias()])]));
      }),
  },
  {
    name: "the mask of every pair of tokens that count",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const float = b.cast("mask", DataType.FLOAT);
        const pairs = b.op("Mul", [b.unsqueeze(float, [1]), b.unsqueeze(float, [2])]);
        const bias = b.op("Mul", [b.op("Sub", [b.scalar(1), b.unsqueeze(pairs, [1])]), b.scalar(-1e4)]);
        return soft(b, b.op("Add", [s, bias]));
      }),
  },
  {
    name: "a padding mask of four dimensions from outside",
    mask: "padding",
    inputs: [hiddenStates, integerMask("batch", 1, 1, "length")],
    write: (b) => b.attend((s) => soft(b, b.masked(b.cast("mask", DataType.BOOL), s))),
  },
  {
    name: "a padding mask of three dimensions from outside",
    mask: "padding",
    inputs: [hiddenStates, integerMask("batch", 1, "length")],
    write: (b) => b.attend((s) => soft(b, b.masked(b.unsqueeze(b.cast("mask", DataType.BOOL), [1]), s))),
  },
  {
    name: "an additive padding mask from outside",
    mask: "padding",
    inputs: [hiddenStates, { name: "added", dataType: DataType.FLOAT, dims: ["batch", 1, 1, "length"] }],
    write: (b) => b.attend((s) => soft(b, b.op("Add", [s, "added"]))),
  },
  {
    name: "one projection, a slice for each head",
    mask: "padding",
    sites: heads,
    write: (b) => {
      const packed = b.linear("x", 3 * hidden);
      const part = (i: number): string => b.slice(packed, 2, i * dim, (i + 1) * dim);
      const bias = b.squeeze(b.paddingBias(), [1]);
      return b.concat(
        Array.from({ length: heads }, (_, h) => {
          const [q, k, v] = [part(h), part(heads + h), part(2 * heads + h)];
          const s = b.op("Mul", [b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]), b.scalar(0.35)]);
          return b.op("MatMul", [soft(b, b.op("Add", [s, bias])), v]);
        }),
        2,
      );
    },
  },
  {
    name: "all in float64",
    mask: "padding",
    write: (b) => {
      const wide = (value: string): string => b.cast(value, DataType.DOUBLE);
      const [q, k, v] = [wide(b.project("x")), wide(b.project("x")), wide(b.project("x"))];
      const s = b.op("MatMul", [q, b.transpose(k, [0, 1, 3, 2])]);
      return b.cast(b.merge(b.op("MatMul", [soft(b, b.op("Add", [s, wide(b.paddingBias())])), v])), DataType.FLOAT);
    },
  },
  {
    name: "nn.MultiheadAttention with a learned key and value of its own, padded",
    mask: "padding",
    write: (b) => {
      const extend = (v: string): string => {
        const shape = b.concat([b.dimension("x", 0), b.integers([heads, 1, dim])], 0);
        return b.concat([v, b.op("Expand", [b.weights([1, heads, 1, dim]), shape])], 2);
      };
      const [q, k, v] = [b.project("x"), extend(b.project("x")), extend(b.project("x"))];
      const one = b.op("Expand", [b.integers([1]), b.concat([b.dimension("x", 0), b.integers([1])], 0)]);
      const keep = b.unsqueeze(b.cast(b.concat(["mask", one], 1), DataType.BOOL), [1, 2]);
      return b.merge(b.op("MatMul", [soft(b, b.masked(keep, b.logits(q, k))), v]));
    },
  },
  {
    name: "frozen shapes, as onnxsim leaves them",
    mask: "padding",
    inputs: [
      { ...hiddenStates, dims: [2, 11, hidden] },
      { ...paddingMask, dims: [2, 11] },
    ],
    write: (b) => {
      const split = (): string => b.transpose(b.reshape(b.linear("x"), [2, 11, heads, dim]), [0, 2, 1, 3]);
      const p = soft(b, b.op("Add", [b.logits(split(), split()), b.paddingBias()]));
      return b.reshape(b.transpose(b.op("MatMul", [p, split()]), [0, 2, 1, 3]), [2, 11, hidden]);
    },
  },
  {
    name: "a batch of one, frozen, heads in the first axis",
    mask: "none",
    inputs: [{ ...hiddenStates, dims: [1, 11, hidden] }],
    write: (b) => {
      const split = (): string => b.transpose(b.reshape(b.linear("x"), [11, heads, dim]), [1, 0, 2]);
      const s = b.op("MatMul", [split(), b.transpose(split(), [0, 2, 1])]);
      return b.reshape(b.transpose(b.op("MatMul", [soft(b, s), split()]), [1, 0, 2]), [1, 11, hidden]);
    },
  },
  {
    name: "softmax over rows with its maximum stopped, as JAX writes it",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const logits = b.masked(keepRows(b), s);
        const largest = b.op("Max", [b.reduceMax(logits, 3), b.scalar(-3e38)]);
        const powers = b.op("Exp", [b.op("Sub", [logits, largest])]);
        return b.op("Div", [powers, b.reduceSum(powers, 3)]);
      }),
  },
  {
    name: "log-sum-exp subtracted",
    mask: "none",
    ...lone,
    write: (b) =>
      b.attend((s) => {
        const total = b.op("ReduceLogSumExp", [s], { axes: { ints: [3] }, keepdims: { int: 1 } });
        return b.op("Exp", [b.op("Sub", [s, total])]);
      }),
  },
  {
    name: "softmax over the first of four axes",
    mask: "padding",
    write: (b) => {
      const [q, k, v] = [b.project("x"), b.project("x"), b.project("x")];
      const s = einsum(b, "bhqd,bhkd->kbhq", q, k);
      const bias = b.transpose(b.paddingBias(), [3, 0, 1, 2]);
      return b.reshape(einsum(b, "kbhq,bhkd->bqhd", soft(b, b.op("Add", [s, bias]), 0), v), [0, 0, hidden]);
    },
  },
  {
    name: "onnxruntime: transposes of sequence-first heads absorbed by FusedMatMul",
    mask: "padding",
    write: (b) => {
      const x = b.transpose("x", [1, 0, 2]);
      const folded = b.concat([b.dimension("x", 1), b.integers([-1, dim])], 0);
      const split = (): string => b.op("Reshape", [b.linear(x), folded]);
      const fused = (left: string, right: string, attributes: Record<string, AttributeValue>): string =>
        b.op("FusedMatMul", [left, right], attributes, { domain: "com.microsoft" });
      const logits = fused(split(), split(), {
        transBatchA: { int: 1 },
        transBatchB: { int: 1 },
        transB: { int: 1 },
        alpha: { float: 0.3 },
      });
      const length = b.dimension("x", 1);
      const apart = b.op("Reshape", [logits, b.concat([b.integers([-1, heads]), length, length], 0)]);
      const masked = b.op("Add", [apart, b.paddingBias()]);
      const p = soft(b, b.op("Reshape", [masked, b.op("Shape", [logits])]));
      const made = b.transpose(fused(p, split(), { transBatchB: { int: 1 } }), [1, 0, 2]);
      return b.transpose(b.op("Reshape", [made, b.op("Shape", [x])]), [1, 0, 2]);
    },
  },
  {
    name: "TensorFlow: split heads joined along the batch, heads slowest",
    mask: "padding",
    write: (b) =>
      headsSlowest(b, (s) =>
        b.op("Add", [s, b.op("Tile", [b.squeeze(b.paddingBias(), [1]), b.integers([heads, 1, 1])])]),
      ),
  },
  {
    name: "the largest of all logits subtracted",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const logits = b.op("Add", [s, b.paddingBias()]);
        return soft(b, b.op("Sub", [logits, b.op("ReduceMax", [logits], { keepdims: { int: 0 } })]));
      }),
  },
  {
    name: "the whole attention in the layout [batch, length, heads, dim]",
    mask: "padding",
    write: (b) => {
      const rows = (): string => b.reshape(b.linear("x"), [0, 0, heads, dim]);
      const [q, k, v] = [rows(), rows(), rows()];
      const s = b.op("MatMul", [b.transpose(q, [0, 2, 1, 3]), b.transpose(k, [0, 2, 3, 1])]);
      const p = soft(b, b.op("Add", [s, b.paddingBias()]));
      return b.merge(b.op("MatMul", [p, b.transpose(v, [0, 2, 1, 3])]));
    },
  },
  {
    name: "batch and length baked in though declared free",
    mask: "padding",
    write: (b) =>
      b.attend((s) => {
        const keep = b.cast(b.op("Reshape", ["mask", b.integers([2, 1, 1, 11])]), DataType.BOOL);
        return soft(b, b.op("Where", [keep, s, b.scalar(-1e9)]));
      }),
  },
  {
    name: "nn.MultiheadAttention, sequence first, padded by a mask [batch, length]",
    mask: "padding",
    inputs: [{ ...hiddenStates, dims: ["length", "batch", hidden] }, paddingMask],
    write: (b) => {
      const fold = (): string => {
        const made = b.linear("x");
        const folded = b.op("Mul", [b.dimension("x", 1), b.integers([heads])]);
        const shape = b.concat([b.dimension("x", 0), folded, b.integers([dim])], 0);
        return b.transpose(b.op("Reshape", [made, shape]), [1, 0, 2]);
      };
      const [q, k, v] = [fold(), fold(), fold()];
      const logits = b.op("Mul", [b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]), b.scalar(0.35)]);
      const split = b.concat([b.dimension("x", 1), b.integers([heads, -1]), b.dimension("x", 0)], 0);
      const masked = b.op("Add", [b.op("Reshape", [logits, split]), b.paddingBias()]);
      const p = b.op("Reshape", [soft(b, masked), b.op("Shape", [logits])]);
      return b.op("Reshape", [b.transpose(b.op("MatMul", [p, v]), [1, 0, 2]), b.op("Shape", ["x"])]);
    },
  },
  {
    name: "nn.MultiheadAttention, sequence first, its length baked in though declared free",
    mask: "none",
    inputs: [{ ...hiddenStates, dims: ["length", "batch", hidden] }],
    write: (b) => {
      const fold = (): string => b.transpose(b.reshape(b.linear("x"), [11, -1, dim]), [1, 0, 2]);
      const [q, k, v] = [fold(), fold(), fold()];
      const p = soft(b, b.op("Mul", [b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]), b.scalar(0.35)]));
      return b.reshape(b.transpose(b.op("MatMul", [p, v]), [1, 0, 2]), [11, -1, hidden]);
    },
  },
  {
    name: "nn.TransformerEncoder, sequence first, its length baked in, padded by a mask [batch, length]",
    mask: "padding",
    inputs: [{ ...hiddenStates, dims: ["length", "batch", hidden] }, paddingMask],
    write: (b) => {
      const fold = (): string => b.transpose(b.reshape(b.linear("x"), [11, -1, dim]), [1, 0, 2]);
      const [q, k, v] = [fold(), fold(), fold()];
      const logits = b.op("Mul", [b.op("MatMul", [q, b.transpose(k, [0, 2, 1])]), b.scalar(0.35)]);
      const masked = b.op("Add", [b.reshape(logits, [-1, heads, 11, 11]), b.paddingBias()]);
      const p = b.reshape(soft(b, masked), [-1, 11, 11]);
      return b.reshape(b.transpose(b.op("MatMul", [p, v]), [1, 0, 2]), [11, -1, hidden]);
    },
  },
];

describe("attention as other exporters write it", () => {
  test.each(cases)("$name", async ({ write, mask, sites: count = 1, ...options }) => {
    const { sites } = inspectAttention(layerModel(write, options));
    expect(sites.flatMap(({ reasons }) => reasons)).toEqual([]);
    expect(sites.map((site) => [site.kind, site.mask.kind])).toEqual(
      Array.from({ length: count }, () => ["self", mask]),
    );
    const padding = mask.includes("padding");
    expect(await reEmissionDifference(() => layerModel(write, options), padding)).toBeLessThan(2e-6);
  });
});
