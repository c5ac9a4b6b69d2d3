import { describeNode } from "../graph/node.ts";
import type { NodeProto } from "../model/proto.ts";
import type { Region } from "./region.ts";
import type { RegionInputs } from "./region-evaluation.ts";
import type { Reason } from "./site.ts";

const productsWithWeights = new Set(["MatMul", "Gemm", "Einsum", "Conv"]);
const quantised = new Set(["QuantizeLinear", "DequantizeLinear", "QLinearSoftmax", "MatMulInteger"]);

/**
 * What the operators between the two products give away before anything is evaluated: forms that no linear attention
 * stands in for, each by its name.
 */
export function describeRefusal(region: Region, inputs: RegionInputs): Reason | undefined {
  const { nodes } = region;
  const find = (...types: string[]): NodeProto | undefined => nodes.find((node) => types.includes(node.opType));
  const mixing = nodes.find((node) => productsWithWeights.has(node.opType));
  if (mixing !== undefined) {
    return {
      code: "talking-heads",
      message: `Heads are mixed between the two products (talking heads) by ${describeNode(mixing)}; each head of linear attention stands alone.`,
    };
  }
  const topK = find("TopK");
  if (topK !== undefined) {
    return {
      code: "top-k",
      message: `Only the largest logits are kept (top-k, ${describeNode(topK)}), which needs all logits.`,
    };
  }
  const tanh = find("Tanh");
  if (tanh !== undefined) {
    return {
      code: "soft-capping",
      message: `The logits are soft-capped by ${describeNode(tanh)}; random features estimate exp(q.k), not exp of a capped product.`,
    };
  }
  const quantise = nodes.find((node) => quantised.has(node.opType));
  if (quantise !== undefined) {
    return {
      code: "quantized-attention",
      message: `The attention itself is quantised (${describeNode(quantise)} stands between Q.K and P.V). Convert the float model and quantise the result.`,
    };
  }
  if (inputs.contentDependence !== undefined) {
    return {
      code: "content-dependent-bias",
      message: `The logits get a second term that depends on the content, by ${describeNode(inputs.contentDependence)}: relative attention as in DeBERTa or Transformer-XL, or a learned bias.`,
    };
  }
  return undefined;
}
