import { describeNode } from "@favor/onnx/graph";
import { floatProducts, quantisation, quantisedProducts } from "@favor/onnx/semantics";
import type { NodeProto } from "@favor/onnx";
import { type AttentionContext } from "../context.ts";
import { isQuantisedProduct, isTied } from "../product.ts";
import type { Region } from "../wiring/region.ts";
import type { RegionInputs } from "../proof/region-evaluation.ts";
import { reasonFor, type Reason } from "../../refusals/reason.ts";

const quantised: ReadonlySet<string> = new Set(["QLinearSoftmax", ...quantisation, ...quantisedProducts]);

/**
 * Recognises, by the operators between the two products and before anything is evaluated, known forms of attention that
 * linear attention cannot replace, and gives the reason.
 */
export function describeRefusal(
  { origins }: AttentionContext,
  region: Region,
  { values }: RegionInputs,
): Reason | undefined {
  const { nodes } = region;
  if (isTied(region.logits)) {
    return reasonFor(
      "tied-attention",
      `${describeNode(region.logits.node)} sums the logits over more than a head's dimension. This is tied row attention, as in the MSA Transformer: several rows share one attention.`,
    );
  }
  const find = (...types: string[]): NodeProto | undefined => nodes.find((node) => types.includes(node.opType));
  const mixing = nodes.find((node) => floatProducts.has(node.opType));
  if (mixing !== undefined) {
    return reasonFor(
      "talking-heads",
      `${describeNode(mixing)} mixes heads between the two products (talking heads). Each head of linear attention stands alone.`,
    );
  }
  const topK = find("TopK");
  if (topK !== undefined) {
    return reasonFor(
      "top-k",
      `${describeNode(topK)} keeps only the largest logits of each query. Linear attention never computes the logits.`,
    );
  }
  const tanh = find("Tanh");
  if (tanh !== undefined) {
    return reasonFor(
      "soft-capping",
      `${describeNode(tanh)} caps the logits. Random features estimate exp(q.k), not exp of a capped product.`,
    );
  }
  const products = [region.logits.node, region.output.node];
  const quantise = products.find(isQuantisedProduct) ?? nodes.find((node) => quantised.has(node.opType));
  if (quantise !== undefined) {
    return reasonFor("quantized-attention", `The attention itself is quantised (${describeNode(quantise)}).`);
  }
  const content = origins.content.of(values);
  if (content !== undefined) {
    const sorting = origins.sorting.of(values);
    if (sorting !== undefined) {
      return reasonFor(
        "content-sorted",
        `${describeNode(sorting)} sorts or hashes the content, which decides the keys that a query attends to, as in Reformer's LSH attention or in routing. Sums over all keys cannot express that.`,
      );
    }
    return reasonFor(
      "content-dependent-bias",
      `The logits get a second term that depends on the content (${describeNode(content)}): relative attention as in DeBERTa or Transformer-XL, or a learned bias.`,
    );
  }
  const bias = origins.relativeBias.of(values);
  if (bias !== undefined) {
    return reasonFor(
      "relative-position-bias",
      `${describeNode(bias)} makes a bias for the logits that depends on the distance between query and key. Sums over keys cannot express it.`,
    );
  }
  return undefined;
}
