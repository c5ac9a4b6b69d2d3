import { floatAttribute, intAttribute } from "@favor/onnx/graph";
import { decomposeAttention, isAttentionOperator } from "../../normalise/decompose.ts";
import type { NodeProto } from "@favor/onnx";
import type { AttentionContext } from "../context.ts";
import type { FoundSite } from "../site.ts";

/** An operator that computes a whole attention, and that normalising left as it is. */
export interface FusedCandidate {
  readonly node: NodeProto;
  readonly examine: (index: number, layer: number) => FoundSite | undefined;
}

/** The fused operators that have no plain form. Each is refused, with the reason. */
export function fusedCandidates(context: AttentionContext): FusedCandidate[] {
  const operators = context.graph.nodes.filter(isAttentionOperator);
  return operators.map((node) => ({ node, examine: (index, layer) => refuse(context, node, index, layer) }));
}

function refuse(context: AttentionContext, node: NodeProto, index: number, layer: number): FoundSite | undefined {
  const reason = decomposeAttention(context.graph, node, context.first.info);
  if (!("code" in reason)) return undefined;
  const heads = intAttribute(node, "num_heads") ?? intAttribute(node, "q_num_heads", 0);
  return {
    context,
    blocks: { failure: "it is one operator" },
    refused: {
      index,
      layer,
      name: node.name || node.output[0] || "",
      kind: "self",
      heads,
      keyValueHeads: intAttribute(node, "kv_num_heads", heads),
      headDim: 0,
      scale: floatAttribute(node, "scale", 0),
      causal: intAttribute(node, "is_causal", intAttribute(node, "unidirectional", 0)) !== 0,
      mask: { kind: "other", evidence: "not examined" },
      reasons: [reason],
    },
  };
}
