import Long from "long";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { float32, int64, list, node } from "@favor/test-support/nodes";
import { encodeTensor } from "@favor/onnx/evaluate";
import { encodeModel } from "@favor/onnx";
import { DataType, type ModelProto, type NodeProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { valueInfo } from "@favor/test-support/small-model";
import { openSession } from "@favor/test-support/onnxruntime";

/** What a model of nothing but one attention is to be. */
export interface AttentionModel {
  readonly heads: number;
  readonly dim: number;
  readonly valueDim?: number;
  /** An input `mask` [batch, length]: 0 hides a key. */
  readonly padding?: boolean;
  readonly causal?: boolean;
  /** Queries, keys and values are parts of one input `packed`, [batch, heads, length, 2 dim + valueDim]. */
  readonly self?: boolean;
  /** ALiBi's slope for each head. */
  readonly slopes?: readonly number[];
  readonly opset?: number;
}

/**
 * softmax(query key^T / sqrt(dim) + mask) value of the inputs `query`, `key` and `value`, each
 * [batch, heads, length, dim or valueDim].
 */
export function attentionModel(options: AttentionModel): ModelProto {
  const { heads, dim, valueDim = dim, padding = false, causal = false, self = false, slopes, opset = 17 } = options;
  const rows = (name: string, width: number) => valueInfo(name, DataType.FLOAT, ["batch", heads, "length", width]);
  const parts: NodeProto[] = self ? [node("Split", ["packed", "widths"], ["query", "key", "value"], { axis: 3 })] : [];
  const nodes: NodeProto[] = [
    ...parts,
    node("Transpose", ["key"], ["key_columns"], { perm: [0, 1, 3, 2] }),
    node("MatMul", ["query", "key_columns"], ["products"]),
    node("Mul", ["products", "scale"], ["scaled"]),
  ];
  let logits = "scaled";
  if (causal || slopes) {
    nodes.push(
      node("Shape", ["query"], ["shape"]),
      node("Gather", ["shape", "two"], ["length"]),
      node("Range", ["zero", "length", "one"], ["positions"]),
      node("Unsqueeze", ["positions", "last"], ["rows"]),
    );
  }
  if (slopes) {
    nodes.push(
      node("Sub", ["rows", "positions"], ["apart"]),
      node("Abs", ["apart"], ["distances"]),
      node("Cast", ["distances"], ["float_distances"], { to: DataType.FLOAT }),
      node("Mul", ["float_distances", "slopes"], ["fading"]),
      node("Sub", [logits, "fading"], ["faded"]),
    );
    logits = "faded";
  }
  if (padding) {
    nodes.push(
      node("Unsqueeze", ["mask", "axes"], ["mask_4d"]),
      node("Sub", ["unit", "mask_4d"], ["hidden"]),
      node("Mul", ["hidden", "low"], ["bias"]),
      node("Add", [logits, "bias"], ["padded"]),
    );
    logits = "padded";
  }
  if (causal) {
    nodes.push(node("Less", ["rows", "positions"], ["future"]), node("Where", ["future", "low", logits], ["visible"]));
    logits = "visible";
  }
  nodes.push(
    node("Softmax", [logits], ["probabilities"], { axis: -1 }),
    node("MatMul", ["probabilities", "value"], ["out"]),
  );
  const constants = {
    scale: float32([], [1 / Math.sqrt(dim)]),
    unit: float32([], [1]),
    low: float32([], [-1e9]),
    axes: list(1, 2),
    last: list(1),
    ...(self && { widths: list(dim, dim, valueDim) }),
    zero: int64([], [0]),
    one: int64([], [1]),
    two: int64([], [2]),
    ...(slopes && { slopes: float32([heads, 1, 1], slopes) }),
  };
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(9),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(opset) })],
    graph: createMessage("GraphProto", {
      name: "attention",
      node: nodes,
      input: [
        ...(self
          ? [rows("packed", 2 * dim + valueDim)]
          : [rows("query", dim), rows("key", dim), rows("value", valueDim)]),
        ...(padding ? [valueInfo("mask", DataType.FLOAT, ["batch", "length"])] : []),
      ],
      output: [rows("out", valueDim)],
      initializer: Object.entries(constants).map(([name, tensor]) => encodeTensor(name, tensor)),
    }),
  });
}

/** Inputs of an {@link attentionModel}, each [batch, heads, length, width] and row-major. */
export interface AttentionInputs {
  readonly batch: number;
  readonly length: number;
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  /** [batch, length] */
  readonly mask?: Float32Array;
}

export function openAttention(model: ModelProto): Promise<InferenceSession> {
  return openSession(encodeModel(model));
}

/** `out` of an attention model. */
export async function runAttention(
  session: InferenceSession,
  { heads, dim, valueDim = dim, self = false }: AttentionModel,
  { batch, length, query, key, value, mask }: AttentionInputs,
): Promise<Float32Array> {
  const rows = (values: Float32Array, width: number) => new Tensor("float32", values, [batch, heads, length, width]);
  const { out } = await session.run({
    ...(self
      ? { packed: rows(joined([query, dim], [key, dim], [value, valueDim]), 2 * dim + valueDim) }
      : { query: rows(query, dim), key: rows(key, dim), value: rows(value, valueDim) }),
    ...(mask && { mask: new Tensor("float32", mask, [batch, length]) }),
  });
  return out!.data as Float32Array;
}

/** Rows of several widths side by side. */
function joined(...parts: readonly [values: Float32Array, width: number][]): Float32Array {
  const width = parts.reduce((sum, [, each]) => sum + each, 0);
  const count = parts[0]![0].length / parts[0]![1];
  const out = new Float32Array(count * width);
  let at = 0;
  for (const [values, own] of parts) {
    for (let row = 0; row < count; row++) out.set(values.subarray(row * own, (row + 1) * own), row * width + at);
    at += own;
  }
  return out;
}
