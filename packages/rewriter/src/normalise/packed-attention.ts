import { describeNode, floatAttribute, intAttribute, intsAttribute } from "@favor/onnx/graph";
import { reasonFor } from "../refusals/reason.ts";
import { unknownForm, type Writer } from "./fused-operator.ts";
import { operatorCacheReason, microsoftMask } from "./operator-masks.ts";
import { mergeHeads, splitColumns, splitHeads, writeSoftmaxAttention } from "./softmax-attention.ts";

/**
 * onnxruntime's Attention: input [batch, length, hidden], one weight [hidden, 3 x heads x dim] and bias for query, key
 * and value, mask, additive bias. The projection becomes a product of its own.
 */
export const writePackedAttention: Writer = (build, { node, has, input }) => {
  if (has(4)) return operatorCacheReason(node);
  if (intAttribute(node, "do_rotary", 0) !== 0) {
    return reasonFor("rotary-inside", `${describeNode(node)} rotates queries and keys itself.`);
  }
  const source = input(0);
  const width = input(1)?.dims[1];
  const heads = intAttribute(node, "num_heads", 0);
  if (source?.dims.length !== 3 || width === undefined || heads < 1) return unknownForm(node, "its shapes are unknown");
  const sizes = intsAttribute(node, "qkv_hidden_sizes") ?? [width / 3, width / 3, width / 3];
  if (sizes.length !== 3 || sizes[0] !== sizes[1] || !sizes.every((size) => Number.isInteger(size / heads))) {
    return unknownForm(node, `its projection of ${width} columns does not split into ${heads} heads`);
  }
  let packed = build.op("MatMul", [node.input[0]!, node.input[1]!]);
  if (has(2)) packed = build.op("Add", [packed, node.input[2]!]);
  const [query, key, value] = splitColumns(build, packed, sizes).map((part) => splitHeads(build, part, heads)) as [
    string,
    string,
    string,
  ];
  const keeps: string[] = [];
  if (has(3)) {
    const keyed = { value: node.input[0]!, axis: 1, batch: source.dims[0]!, keys: source.dims[1]! };
    const mask = microsoftMask(build, node, 3, input(3), keyed);
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
      // 0 and absent both mean the default.
      scale: floatAttribute(node, "scale", 0) || 1 / Math.sqrt(sizes[0]! / heads),
      softcap: 0,
      biases: has(5) ? [node.input[5]!] : [],
      keeps,
      causal: intAttribute(node, "unidirectional", 0) !== 0 && "end",
      dataType: source.dataType,
    },
    node.name || node.output[0]!,
  );
  mergeHeads(build, made.value, node.output[0]!);
  if ((node.output[1] ?? "") !== "") {
    const both = [key, value].map((part) => build.unsqueeze(part, [0]));
    build.op("Concat", both, { axis: { int: 0 } }, { output: node.output[1]! });
  }
  return { product: made.product };
};
