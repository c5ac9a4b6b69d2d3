import { readsData, valuesAbove } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";
import type { NodeProto } from "@favor/onnx";
import type { Product } from "../product.ts";
import { isWeightProduct, throughLayout } from "../operands/projection-source.ts";
import type { Region } from "./region.ts";

/**
 * Finds attention through landmarks, which is linear already: softmax(Q A^T) (softmax(A K^T) V) with a few pooled tokens
 * A (agent attention), and Nystrom's softmax(Q K~^T) softmax(Q~ K~^T)^-1 (softmax(Q~ K^T) V). With a free length, its
 * products are not quadratic, unless an exporter fixed the size of the landmarks' segments. With a fixed length, they
 * look like attention.
 *
 * A region is of this kind if its logits share a factor with another product, and if what it averages is computed from
 * another of these products without a projection in between.
 *
 * @param products all products of data in the graph, including those of the regions
 */
export function landmarkRegions(
  context: AttentionContext,
  regions: readonly Region[],
  products: readonly Product[],
): ReadonlySet<Region> {
  const readers = new Map<string, Product[]>();
  const factorsOf = ({ left, right }: Product): string[] =>
    [left, right].map(({ value }) => throughLayout(context, value));
  for (const product of products) {
    for (const factor of factorsOf(product)) {
      const known = readers.get(factor);
      if (known === undefined) readers.set(factor, [product]);
      else known.push(product);
    }
  }
  const regionOf = new Map(regions.map((region) => [region.logits, region]));
  const landmarks = new Set<Region>();
  const seen = new Set<Product>();
  const shared = new Set<string>();
  for (const { logits } of regions) {
    if (seen.has(logits)) continue;
    const sharing = new Set([logits]);
    // A set is iterated over what is added to it meanwhile.
    for (const product of sharing) {
      for (const factor of factorsOf(product)) {
        if (shared.has(factor)) continue;
        shared.add(factor);
        for (const reader of readers.get(factor)!) sharing.add(reader);
      }
    }
    for (const product of sharing) seen.add(product);
    const members = [...sharing].flatMap((product) => regionOf.get(product) ?? []);
    const nodes = new Set([...sharing].map(({ node }) => node));
    if (members.some((region) => averagesProduct(context, region, nodes))) {
      for (const region of members) landmarks.add(region);
    }
  }
  return landmarks;
}

/** Whether a region multiplies its probabilities by something computed from another of the products without weights. */
function averagesProduct(context: AttentionContext, region: Region, nodes: ReadonlySet<NodeProto>): boolean {
  if (nodes.size === 1) return false;
  const { graph } = context;
  const { side } = region.probabilities;
  const value = region.output[side === "left" ? "right" : "left"].value;
  const producer = (name: string): NodeProto | undefined => {
    const node = graph.producer(name);
    return node !== undefined && isWeightProduct(context, node) ? undefined : graph.owner(name)?.producer(name);
  };
  for (const [, node] of valuesAbove([value], producer, readsData)) {
    countSteps(context);
    if (node !== undefined && node !== region.logits.node && nodes.has(node)) return true;
  }
  return false;
}
