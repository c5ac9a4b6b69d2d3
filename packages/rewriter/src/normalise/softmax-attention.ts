import { DataType, type NodeProto } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";

/** What a fused operator computes: softmax(scale Q K^T + biases, keys that are kept) V. */
export interface SoftmaxAttention {
  /** [batch, heads, queries, dim] */
  readonly query: string;
  /** [batch, keyValueHeads, keys, dim] */
  readonly key: string;
  /** [batch, keyValueHeads, keys, valueDim] */
  readonly value: string;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly scale: number;
  /** The logits become c tanh(logits / c); 0 for not. */
  readonly softcap: number;
  /** Added to the logits, and broadcast to them; of the same type. */
  readonly biases: readonly string[];
  /** Booleans that broadcast to the logits: false drops. */
  readonly keeps: readonly string[];
  /** Query i sees the keys up to i, counted from the first ("start") or from the last ("end"); false: all. */
  readonly causal: false | "start" | "end";
  /** ONNX data type of query, key and value. */
  readonly dataType: number;
}

/** The lowest finite number of the type, so that rows that keep nothing stay finite. */
function lowest(dataType: number): number {
  if (dataType === DataType.FLOAT16) return -65504;
  return dataType === DataType.BFLOAT16 ? -3.3895313892515355e38 : -3.4028234663852886e38;
}

/**
 * Writes the attention in plain operators.
 *
 * @returns the product P.V, [batch, heads, queries, valueDim], and its node
 */
export function writeSoftmaxAttention(
  build: NodeBuilder,
  attention: SoftmaxAttention,
  name: string,
): { value: string; product: NodeProto } {
  const { dataType } = attention;
  const scalar = (value: number): string =>
    dataType === DataType.FLOAT ? build.scalar(value) : build.cast(build.scalar(value), dataType);
  const columns = build.transpose(repeatHeads(build, attention.key, attention), [0, 1, 3, 2]);
  let logits = build.op("MatMul", [attention.query, columns]);
  logits = build.op("Mul", [logits, scalar(attention.scale)]);
  if (attention.softcap !== 0) {
    const cap = scalar(attention.softcap);
    logits = build.op("Mul", [build.op("Tanh", [build.op("Div", [logits, cap])]), cap]);
  }
  for (const bias of attention.biases) logits = build.op("Add", [logits, bias]);
  const keeps = [...attention.keeps, ...causalMask(build, attention)];
  for (const keep of keeps) logits = build.op("Where", [keep, logits, scalar(lowest(dataType))]);
  const probabilities = build.softmax(logits);
  // Reports call an attention by the name of its softmax.
  build.nodes.at(-1)!.name = name;
  const value = build.op("MatMul", [probabilities, repeatHeads(build, attention.value, attention)]);
  return { value, product: build.nodes.at(-1)! };
}

/** Repeats each key or value head for every query head that shares it: [batch, heads, keys, dim]. */
function repeatHeads(build: NodeBuilder, value: string, { heads, keyValueHeads }: SoftmaxAttention): string {
  if (heads === keyValueHeads) return value;
  const grouped = build.unsqueeze(value, [2]);
  const repeated = build.op("Expand", [grouped, build.integers([1, 1, heads / keyValueHeads, 1, 1])]);
  const tail = [build.dimension(value, 2), build.dimension(value, 3)];
  return build.op("Reshape", [repeated, build.concat([build.integers([0, heads]), ...tail], 0)]);
}

function causalMask(build: NodeBuilder, { query, key, causal }: SoftmaxAttention): string[] {
  if (causal === false) return [];
  const [queries, keys] = [build.dimension(query, 2), build.dimension(key, 2)];
  let last = build.unsqueeze(build.range(queries), [1]);
  if (causal === "end") last = build.op("Add", [last, build.op("Sub", [keys, queries])]);
  return [build.op("Not", [build.op("Less", [last, build.unsqueeze(build.range(keys), [0])])])];
}

/** [batch, length, heads x dim] to [batch, heads, length, dim]. */
export function splitHeads(build: NodeBuilder, value: string, heads: number): string {
  return build.transpose(build.op("Reshape", [value, build.integers([0, 0, heads, -1])]), [0, 2, 1, 3]);
}

/** [batch, heads, length, dim] to [batch, length, heads x dim], under the given name. */
export function mergeHeads(build: NodeBuilder, value: string, output: string): void {
  build.op("Reshape", [build.transpose(value, [0, 2, 1, 3]), build.integers([0, 0, -1])], {}, { output });
}

/** Parts of the last axis of a value of rank 3, by their sizes. */
export function splitColumns(build: NodeBuilder, value: string, sizes: readonly number[]): string[] {
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return build.slice(value, 2, start - size, start);
  });
}
