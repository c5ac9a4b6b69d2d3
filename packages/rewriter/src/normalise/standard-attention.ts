import { floatAttribute, intAttribute } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { unknownForm, type FusedOperator, type Writer } from "./fused-operator.ts";
import { operatorCacheReason, lengthMask, outputReason, windowMasks, type WindowSizes } from "./operator-masks.ts";
import { mergeHeads, splitHeads, writeSoftmaxAttention } from "./softmax-attention.ts";

/**
 * Writes out Attention of the standard operator set, version 23 and later: query, key, value [batch, length, heads x dim] or
 * [batch, heads, length, dim], boolean or additive mask, is_causal, windows, softcap, grouped heads, lengths of the keys.
 */
export const writeStandardAttention: Writer = (build, operator) => {
  const { node, has, input } = operator;
  if (has(4) || has(5)) return operatorCacheReason(node);
  if ((node.output[3] ?? "") !== "") return outputReason(node, "qk_matmul_output");
  const causal = intAttribute(node, "is_causal", 0) !== 0;
  const window = windowOf(node);
  // With lengths, positions are counted from the end of each row's keys: a cache that the caller holds.
  if (has(6) && (causal || Object.keys(window).length > 0)) return operatorCacheReason(node);
  const query = input(0);
  const rank = query?.dims.length;
  if (!query || (rank !== 3 && rank !== 4)) return unknownForm(node, "the shape of its query is unknown");
  const merged = rank === 3;
  const heads = merged ? intAttribute(node, "q_num_heads", 0) : query.dims[1]!;
  const keyValueHeads = merged ? intAttribute(node, "kv_num_heads", 0) : (input(1)?.dims[1] ?? 0);
  if (heads < 1 || keyValueHeads < 1 || heads % keyValueHeads !== 0) {
    return unknownForm(node, `${heads} heads of queries do not go with ${keyValueHeads} of keys`);
  }
  const split = (index: number, count: number): string =>
    merged ? splitHeads(build, node.input[index]!, count) : node.input[index]!;
  const [key, value] = [split(1, keyValueHeads), split(2, keyValueHeads)];
  const queries = split(0, heads);
  const mask = maskOf(build, operator, query.dataType);
  if (mask === undefined) return unknownForm(node, "its mask does not have the size of the logits");
  const dim = merged ? query.dims[2]! / heads : query.dims[3]!;
  const name = node.name || node.output[0]!;
  const made = writeSoftmaxAttention(
    build,
    {
      query: queries,
      key,
      value,
      heads,
      keyValueHeads,
      scale: floatAttribute(node, "scale", 1 / Math.sqrt(dim)),
      softcap: floatAttribute(node, "softcap", 0),
      biases: mask.biases,
      keeps: [...mask.keeps, ...windowMasks(build, queries, key, window)],
      causal: causal && "start",
      dataType: query.dataType,
    },
    name,
  );
  if (merged) mergeHeads(build, made.value, node.output[0]!);
  else build.op("Identity", [made.value], {}, { output: node.output[0]! });
  [key, value].forEach((present, i) => {
    if ((node.output[1 + i] ?? "") !== "") build.op("Identity", [present], {}, { output: node.output[1 + i]! });
  });
  return { product: made.product };
};

/** -1, the default, is no window on that side. */
function windowOf(node: NodeProto): WindowSizes {
  const [before, after] = ["left_window_size", "right_window_size"].map((name) => intAttribute(node, name, -1));
  return { ...(before! >= 0 && { before: before! }), ...(after! >= 0 && { after: after! }) };
}

function maskOf(
  build: NodeBuilder,
  { node, has, input }: FusedOperator,
  dataType: number,
): { biases: string[]; keeps: string[] } | undefined {
  const keys = input(1)?.dims.at(-2);
  const keeps =
    has(6) && keys !== undefined ? [lengthMask(build, node.input[6]!, node.input[1]!, input(1)!.dims.length - 2)] : [];
  if (!has(3)) return { biases: [], keeps };
  const mask = input(3);
  // The specification allows a mask shorter than the keys, which hides the rest. No exporter writes one.
  if (!mask || (mask.dims.at(-1) !== keys && mask.dims.at(-1) !== 1)) return undefined;
  const value = node.input[3]!;
  if (mask.dataType === DataType.BOOL) return { biases: [], keeps: [...keeps, value] };
  return { biases: [mask.dataType === dataType ? value : build.cast(value, dataType)], keeps };
}
