import { floatAttribute, intAttribute } from "@favor/onnx/graph";
import type { Reason } from "../refusals/reason.ts";
import type { NodeBuilder } from "@favor/onnx/graph";
import { unknownForm, type FusedOperator, type Writer } from "./fused-operator.ts";
import { operatorCacheReason, microsoftMask, outputReason } from "./operator-masks.ts";
import { mergeHeads, splitHeads, writeSoftmaxAttention } from "./softmax-attention.ts";

interface Operands {
  /** [batch, heads, length, dim] each */
  readonly query: string;
  readonly key: string;
  readonly value: string;
  readonly dim: number;
  readonly keys: number;
}

/**
 * onnxruntime's MultiHeadAttention: query, key and value [batch, length, heads x dim] with one bias for the three;
 * or packed as [batch, length, heads, 3, dim]; or key and value packed as [batch, keys, heads, 2, dim]; or key and
 * value [batch, heads, keys, dim]. Key padding mask, additive bias.
 */
export const writeMultiHeadAttention: Writer = (build, operator) => {
  const { node, has, input } = operator;
  if (has(6) || has(7)) return operatorCacheReason(node);
  if ((node.output[3] ?? "") !== "") return outputReason(node, "qk");
  const heads = intAttribute(node, "num_heads", 0);
  const operands = operandsOf(build, operator, heads);
  if ("code" in operands) return operands;
  const { query, key, value, dim, keys } = operands;
  const keeps: string[] = [];
  if (has(4)) {
    const mask = microsoftMask(build, node, 4, input(4), { value: key, axis: 2, batch: input(0)!.dims[0]!, keys });
    if ("code" in mask) return mask;
    keeps.push(mask.keep);
  }
  const made = writeSoftmaxAttention(
    build,
    {
      query,
      key,
      value,
      heads,
      keyValueHeads: heads,
      scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(dim),
      softcap: 0,
      biases: has(5) ? [node.input[5]!] : [],
      keeps,
      causal: intAttribute(node, "unidirectional", 0) !== 0 && "end",
      dataType: input(0)!.dataType,
    },
    node.name || node.output[0]!,
  );
  mergeHeads(build, made.value, node.output[0]!);
  [key, value].forEach((present, i) => {
    if ((node.output[1 + i] ?? "") !== "") build.op("Identity", [present], {}, { output: node.output[1 + i]! });
  });
  return { product: made.product };
};

function operandsOf(build: NodeBuilder, operator: FusedOperator, heads: number): Operands | Reason {
  const { node, has, input } = operator;
  const [query, key, value] = [input(0), input(1), input(2)];
  const hasBias = has(3);
  if (query?.dims.length === 5 && !has(1) && !hasBias) {
    const part = (at: number): string => unpack(build, node.input[0]!, at);
    return { query: part(0), key: part(1), value: part(2), dim: query.dims[4]!, keys: query.dims[1]! };
  }
  if (query?.dims.length !== 3 || heads < 1 || query.dims[2]! % heads !== 0) {
    return unknownForm(node, "the shape of its query is none of the known forms");
  }
  const dim = query.dims[2]! / heads;
  if (key?.dims.length === 5 && !has(2) && !hasBias) {
    const rows = splitHeads(build, node.input[0]!, heads);
    const part = (at: number): string => unpack(build, node.input[1]!, at);
    return { query: rows, key: part(0), value: part(1), dim, keys: key.dims[1]! };
  }
  if (key?.dims.length === 4 && value?.dims.length === 4 && !hasBias) {
    const rows = splitHeads(build, node.input[0]!, heads);
    return { query: rows, key: node.input[1]!, value: node.input[2]!, dim, keys: key.dims[2]! };
  }
  if (key?.dims.length !== 3 || value?.dims.length !== 3) {
    return unknownForm(node, "the shapes of its key and value are none of the known forms");
  }
  let start = 0;
  const [q, k, v] = [query, key, value].map(({ dims }, i) => {
    const size = dims[2]!;
    start += size;
    const own = node.input[i]!;
    const sum = hasBias ? build.op("Add", [own, build.slice(node.input[3]!, 0, start - size, start)]) : own;
    return splitHeads(build, sum, heads);
  }) as [string, string, string];
  return { query: q, key: k, value: v, dim, keys: key.dims[1]! };
}

/** One part of [batch, length, heads, parts, dim] as [batch, heads, length, dim]. */
function unpack(build: NodeBuilder, packed: string, part: number): string {
  return build.transpose(build.squeeze(build.slice(packed, 3, part, part + 1), [3]), [0, 2, 1, 3]);
}
