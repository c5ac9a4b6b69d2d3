import { describeNode } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";
import { ancestors } from "@favor/onnx/graph";
import { type AttentionContext } from "../context.ts";
import { inexpressible, otherPositions } from "../proof/mask-pattern.ts";
import { isQuantisedProduct, isTied } from "../product.ts";
import type { Region } from "../wiring/region.ts";
import type { RegionInputs } from "../proof/region-evaluation.ts";
import type { Reason } from "../site.ts";

const productsWithWeights = new Set(["MatMul", "Gemm", "Einsum", "Conv"]);
const quantised = new Set(["QuantizeLinear", "DequantizeLinear", "QLinearSoftmax", "MatMulInteger"]);
const sortingOperators = new Set(["TopK", "ArgMax", "ArgMin", "Unique"]);
/** Operators of onnxruntime that compute the bias of T5 and of WavLM. */
const relativeBiases = new Set(["RelativePositionBias", "GatedRelativePositionBias"]);

/**
 * What the operators between the two products give away before anything is evaluated: forms that no linear attention
 * stands in for, each by its name.
 */
export function describeRefusal({ graph }: AttentionContext, region: Region, inputs: RegionInputs): Reason | undefined {
  const { nodes } = region;
  if (isTied(region.logits)) {
    return {
      code: "tied-attention",
      message: `The logits are summed over more than a head's dimension, by ${describeNode(region.logits.node)}: tied row attention, as in the MSA Transformer, whose rows share one attention. This layer stays softmax.`,
    };
  }
  const find = (...types: string[]): NodeProto | undefined => nodes.find((node) => types.includes(node.opType));
  const mixing = nodes.find((node) => productsWithWeights.has(node.opType));
  if (mixing !== undefined) {
    return {
      code: "talking-heads",
      message: `Heads are mixed between the two products (talking heads) by ${describeNode(mixing)}; each head of linear attention stands alone: this layer stays softmax.`,
    };
  }
  const topK = find("TopK");
  if (topK !== undefined) {
    return {
      code: "top-k",
      message: `Only the largest logits are kept (top-k, ${describeNode(topK)}), which needs all logits: this layer stays softmax.`,
    };
  }
  const tanh = find("Tanh");
  if (tanh !== undefined) {
    return {
      code: "soft-capping",
      message: `The logits are soft-capped by ${describeNode(tanh)}; random features estimate exp(q.k), not exp of a capped product: this layer stays softmax. A checkpoint without soft-capping can be converted.`,
    };
  }
  const products = [region.logits.node, region.output.node];
  const quantise = products.find(isQuantisedProduct) ?? nodes.find((node) => quantised.has(node.opType));
  if (quantise !== undefined) {
    return {
      code: "quantized-attention",
      message: `The attention itself is quantised (${describeNode(quantise)}). Convert the float model (--dtype fp32 where the checkpoint has both) and quantise the result.`,
    };
  }
  if (inputs.contentDependence !== undefined) {
    const sorting = [...inputs.nodes].find((node) => sortingOperators.has(node.opType));
    if (sorting !== undefined) {
      return {
        code: "content-sorted",
        message: `Which keys a query attends to is decided by sorting or hashing the content, by ${describeNode(sorting)}: buckets, as in Reformer's LSH attention, or routing. It is sparse already, and sums over all keys cannot express it. This layer stays softmax.`,
      };
    }
    return {
      code: "content-dependent-bias",
      message: `The logits get a second term that depends on the content, by ${describeNode(inputs.contentDependence)}: relative attention as in DeBERTa or Transformer-XL, or a learned bias. This layer stays softmax. ${otherPositions}`,
    };
  }
  const bias = [...ancestors(graph, inputs.values, () => false)].find((node) => relativeBiases.has(node.opType));
  if (bias !== undefined) {
    return {
      code: "relative-position-bias",
      message: `A bias that depends on the distance between query and key is added to the logits, by ${describeNode(bias)}, ${inexpressible}. ${otherPositions}`,
    };
  }
  return undefined;
}
