import type { NodeProto } from "@favor/onnx";
import { dimsOf, countSteps, varies, type AttentionContext } from "../context.ts";
import { copyingOperators } from "@favor/onnx/semantics";
import { reachable, readsData } from "@favor/onnx/graph";
import { productAxes, type Product } from "../product.ts";
import type { Region } from "./region.ts";

/** Operators that move, join, mask or scale logits and probabilities. */
const carrying: ReadonlySet<string> = new Set([
  ...copyingOperators,
  ..."Add Sub Mul Div Neg Where Min Max Clip Cast IsNaN".split(" "),
  ..."Pad GatherND GatherElements ScatterND ScatterElements".split(" "),
]);
/** Limit of nodes looked at between a softmax and its products. */
const mostNodes = 256;

/**
 * The softmax of an attention that is not one product of all queries with all keys. It may work within windows or blocks
 * whose number, not size, grows with the length; over a fixed number of positions or latents; or on logits joined from
 * several products.
 *
 * @param regions regions known to be something else
 */
export function blockwiseSoftmax(
  context: AttentionContext,
  products: readonly Product[],
  regions: Iterable<Region>,
): NodeProto[] {
  const known = new Set([...regions].flatMap(({ nodes }) => nodes));
  const byNode = new Map(products.map((product) => [product.node, product]));
  return context.graph.nodes.filter(
    (node) => node.opType === "Softmax" && !known.has(node) && standsBetween(context, node, byNode),
  );
}

/** Whether a product compares several queries and keys, one of the two fixed in number, over a dim that does not grow. */
function isBlock(context: AttentionContext, product: Product): boolean {
  const { left, output } = product;
  const axes = productAxes(product);
  const dims = dimsOf(context, output.value);
  if (axes === undefined || dims === undefined) return false;
  const compared = [...output.labels].flatMap((label, axis) => (axes.batch.includes(label) ? [] : [dims[axis]!]));
  const dim = left.labels.indexOf(axes.contracted);
  return compared.every((size) => size > 1) && !varies(context, left.value, dim);
}

/** Whether a softmax normalises the result of products of data, and its probabilities enter another such product. */
function standsBetween(
  context: AttentionContext,
  softmax: NodeProto,
  products: ReadonlyMap<NodeProto, Product>,
): boolean {
  const { graph } = context;
  const made = walk(context, softmax, products, (node) =>
    [...readsData(node)].flatMap((value) => (context.dynamic.has(value) ? (graph.producer(value) ?? []) : [])),
  );
  if (![...made].some((product) => isBlock(context, product))) return false;
  return walk(context, softmax, products, (node) => node.output.flatMap((value) => graph.consumers(value))).size > 0;
}

/** The products reached through carrying operators only. */
function walk(
  context: AttentionContext,
  from: NodeProto,
  products: ReadonlyMap<NodeProto, Product>,
  next: (node: NodeProto) => readonly NodeProto[],
): Set<Product> {
  const found = new Set<Product>();
  const isCarrying = (node: NodeProto): boolean => !products.has(node) && carrying.has(node.opType);
  for (const node of reachable([from], (at) => next(at).filter(isCarrying), mostNodes)) {
    const others = next(node);
    countSteps(context, others.length);
    for (const other of others) {
      const product = products.get(other);
      if (product !== undefined) found.add(product);
    }
  }
  return found;
}
