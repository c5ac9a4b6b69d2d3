import { DataType } from "@favor/onnx";
import {
  dim,
  heads,
  hidden,
  hiddenStates,
  type Layer,
  type LayerInput,
  type LayerOptions,
} from "@favor/test-support/layer";
import type { RefusalCode } from "../../src/refusals/codes.ts";

export const microsoft = "com.microsoft";
export const count = { num_heads: { int: heads } };
export const both = { q_num_heads: { int: heads }, kv_num_heads: { int: heads } };
export const lone = { inputs: [hiddenStates] };
export const int32 = (name: string, dims: LayerInput["dims"]): LayerInput => ({ name, dataType: DataType.INT32, dims });

export const packed = (b: Layer, mask: string[], attributes = {}): string =>
  b.op(
    "Attention",
    ["x", b.weights([hidden, 3 * hidden]), b.weights([3 * hidden]), ...mask],
    { ...count, ...attributes },
    { domain: microsoft },
  );

export const projected = (b: Layer): [string, string, string] => [b.linear("x"), b.linear("x"), b.linear("x")];

const past: LayerInput = { name: "past", dataType: DataType.FLOAT, dims: ["batch", heads, "steps", dim] };

/** Layers of one fused operator that no plain operators stand for, or whose plain operators are refused. */
export const refusedOperators: (LayerOptions & { name: string; code: RefusalCode; write: (b: Layer) => string })[] = [
  {
    name: "softcap",
    code: "soft-capping",
    opset: 23,
    ...lone,
    write: (b) => b.op("Attention", projected(b), { ...both, softcap: { float: 30 } }),
  },
  {
    name: "a window on one side",
    code: "per-query-mask",
    opset: 27,
    ...lone,
    write: (b) => b.op("Attention", projected(b), { ...both, left_window_size: { int: 2 } }),
  },
  {
    name: "a window that is counted from lengths",
    code: "kv-cache",
    opset: 27,
    inputs: [hiddenStates, { name: "kept", dataType: DataType.INT64, dims: ["batch"] }],
    write: (b) => {
      const window = { left_window_size: { int: 2 }, right_window_size: { int: 2 } };
      return b.op("Attention", [...projected(b), "", "", "", "kept"], { ...both, ...window });
    },
  },
  {
    name: "a past",
    code: "kv-cache",
    opset: 23,
    inputs: [hiddenStates, past],
    write: (b) => b.op("Attention", [...projected(b), "", "past", "past"], both),
  },
  {
    name: "an additive mask of its own for every query",
    code: "relative-position-bias",
    opset: 23,
    ...lone,
    write: (b) =>
      b.op(
        "Attention",
        [...projected(b), b.cast(b.op("Abs", [b.op("Sin", [b.cast(b.distances(), DataType.FLOAT)])]), DataType.FLOAT)],
        both,
      ),
  },
  {
    name: "a quantised operator",
    code: "quantized-attention",
    ...lone,
    write: (b) => b.op("QAttention", ["x", b.weights([hidden, 3 * hidden])], count, { domain: microsoft }),
  },
  {
    name: "grouped queries with a past",
    code: "kv-cache",
    inputs: [hiddenStates, past, int32("last", ["batch"]), int32("total", [])],
    write: (b) => {
      const attributes = { ...count, kv_num_heads: { int: heads } };
      return b.op("GroupQueryAttention", [...projected(b), "past", "past", "last", "total"], attributes, {
        domain: microsoft,
      });
    },
  },
  {
    name: "grouped queries with a sink",
    code: "attention-sink",
    inputs: [hiddenStates, int32("last", ["batch"]), int32("total", [])],
    write: (b) => {
      const attributes = { ...count, kv_num_heads: { int: heads }, smooth_softmax: { int: 1 } };
      return b.op("GroupQueryAttention", [...projected(b), "", "", "last", "total"], attributes, { domain: microsoft });
    },
  },
  {
    name: "rotary positions inside the operator",
    code: "rotary-inside",
    ...lone,
    write: (b) => packed(b, [], { do_rotary: { int: 1 } }),
  },
  {
    name: "columns that do not split into the heads",
    code: "layout-not-understood",
    ...lone,
    write: (b) => packed(b, [], { num_heads: { int: 5 } }),
  },
  {
    name: "a mask of a shape that the operator does not know",
    code: "mask-not-understood",
    inputs: [hiddenStates, int32("mask", [7])],
    write: (b) => packed(b, ["mask"]),
  },
  {
    name: "probabilities as an output of the operator",
    code: "probabilities-are-output",
    opset: 23,
    ...lone,
    write: (b) => {
      const [context, , , probabilities] = b.ops("Attention", projected(b), 4, both) as [
        string,
        string,
        string,
        string,
      ];
      return b.op("Add", [context, b.reduceMax(b.reduceMax(b.reduceMax(probabilities, 3), 2), 1)]);
    },
  },
  {
    name: "sequences that are packed without padding",
    code: "packed-sequences",
    inputs: [hiddenStates, int32("offsets", ["batch", "length"]), int32("bounds", ["rows"])],
    write: (b) => {
      const inputs = ["x", b.weights([hidden, 3 * hidden]), b.weights([3 * hidden]), "offsets", "bounds"];
      return b.op("PackedAttention", inputs, count, { domain: microsoft });
    },
  },
  {
    name: "Longformer's window and global tokens",
    code: "sliding-window",
    inputs: [hiddenStates, int32("everywhere", ["batch", "length"])],
    write: (b) => {
      const weights = () => [b.weights([hidden, 3 * hidden]), b.weights([3 * hidden])];
      const mask = b.op("Sub", [b.cast("everywhere", DataType.FLOAT), b.scalar(1)]);
      const attributes = { ...count, window: { int: 2 } };
      return b.op("LongformerAttention", ["x", ...weights(), mask, ...weights(), "everywhere"], attributes, {
        domain: microsoft,
      });
    },
  },
  {
    name: "blocks of keys chosen ahead",
    code: "block-sparse",
    ...lone,
    write: (b) =>
      b.op("SparseAttention", projected(b), { ...count, kv_num_heads: { int: heads } }, { domain: microsoft }),
  },
];
