import { describeNode, floatAttribute, intAttribute } from "@favor/onnx/graph";
import { DataType } from "@favor/onnx";
import type { NodeBuilder } from "@favor/onnx/graph";
import { reasonFor } from "../refusals/reason.ts";
import { unknownForm, type FusedOperator, type Writer } from "./fused-operator.ts";
import { operatorCacheReason, lengthMask, outputReason, windowMasks } from "./operator-masks.ts";
import { mergeHeads, splitColumns, splitHeads, writeSoftmaxAttention } from "./softmax-attention.ts";

/**
 * Writes out onnxruntime's GroupQueryAttention without a past: query, key, value [batch, length, heads x dim], or the
 * three packed in the last axis; causal, within a window or not; the number of tokens of each row, less one; rotary positions in the operator.
 */
export const writeGroupQueryAttention: Writer = (build, operator) => {
  const { node, has, input } = operator;
  if (has(3) || has(4)) return operatorCacheReason(node);
  if (intAttribute(node, "smooth_softmax", 0) > 0 || has(11)) {
    return reasonFor("attention-sink", `${describeNode(node)} adds a constant to the normaliser (an attention sink).`);
  }
  if ((node.output[3] ?? "") !== "") return outputReason(node, "output_qk");
  const heads = intAttribute(node, "num_heads", 0);
  const keyValueHeads = intAttribute(node, "kv_num_heads", 0);
  const query = input(0);
  if (query?.dims.length !== 3 || heads < 1 || keyValueHeads < 1 || heads % keyValueHeads !== 0) {
    return unknownForm(node, "its shapes are unknown");
  }
  const dim = query.dims[2]! / (has(1) ? heads : heads + 2 * keyValueHeads);
  const sizes = [heads * dim, keyValueHeads * dim, keyValueHeads * dim];
  const parts = has(1) ? node.input.slice(0, 3) : splitColumns(build, node.input[0]!, sizes);
  const counts = [heads, keyValueHeads, keyValueHeads];
  const [q, k, value] = parts.map((part, i) => splitHeads(build, part, counts[i]!)) as [string, string, string];
  const rotates = intAttribute(node, "do_rotary", 0) !== 0;
  const key = rotates ? rotate(build, operator, k) : k;
  const window = intAttribute(node, "local_window_size", -1);
  // The number of tokens less one, [batch] or [batch, 1].
  const last = build.op("Reshape", [build.cast(node.input[5]!, DataType.INT64), build.integers([-1])]);
  const made = writeSoftmaxAttention(
    build,
    {
      query: rotates ? rotate(build, operator, q) : q,
      key,
      value,
      heads,
      keyValueHeads,
      scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(dim),
      softcap: floatAttribute(node, "softcap", 0),
      biases: has(10) ? [node.input[10]!] : [],
      keeps: [
        lengthMask(build, build.op("Add", [last, build.integer(1)]), key, 2),
        ...(window > 0 ? windowMasks(build, key, key, { before: window - 1 }) : []),
      ],
      causal: "end",
      dataType: query.dataType,
    },
    node.name || node.output[0]!,
  );
  mergeHeads(build, made.value, node.output[0]!);
  [key, value].forEach((present, i) => {
    if ((node.output[1 + i] ?? "") !== "") build.op("Identity", [present], {}, { output: node.output[1 + i]! });
  });
  return { product: made.product };
};

/** Rotary positions of [batch, heads, length, dim]: the given ones, or 0, 1, ... */
function rotate(build: NodeBuilder, { node, has }: FusedOperator, value: string): string {
  const places = has(9) ? node.input[9]! : build.integers([0]);
  const interleaved = { int: intAttribute(node, "rotary_interleaved", 0) };
  const inputs = [value, places, node.input[7]!, node.input[8]!];
  return build.op("RotaryEmbedding", inputs, { interleaved }, { domain: "com.microsoft" });
}
