import type { NodeProto } from "@favor/onnx";
import { layoutOperators, allProducts, quantisation } from "@favor/onnx/semantics";
import { madeLast, nodesAlongFirstInput, readsData } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";

/** Limit of weight products between the attended activations and a query or key; more are a network of their own. */
const mostProducts = 4;

/**
 * Whether a query and a key are projected from the same activations, as in self-attention. The paths may differ: a
 * product or two, convolutions that leave out positions (CvT, SegFormer's and PVT's spatial reduction), pooling,
 * normalisation. Anything behind another attention, or many products away, is another stream, such as the encoder's in
 * cross-attention. Additional keys of earlier steps, brought by an input, leave it self-attention.
 *
 * Both are followed up, the latest value first, until everything that one depends on is shared with the other.
 */
export function haveOneSource(context: AttentionContext, query: string, key: string): boolean {
  const { graph } = context;
  /** Weight products between a value and the query or key; the sides that are made of it are those that have any. */
  const open = new Map<string, Partial<Record<"query" | "key", number>>>();
  const reach = (value: string, side: "query" | "key", products: number): void => {
    if (!context.dynamic.has(value)) return;
    const known = open.get(value);
    open.set(value, { ...known, [side]: Math.max(known?.[side] ?? 0, products) });
  };
  reach(query, "query", 0);
  reach(key, "key", 0);
  let isShared = false;
  while (open.size > 0) {
    countSteps(context, open.size);
    const at = madeLast(graph, open.keys());
    const sides = open.get(at)!;
    open.delete(at);
    if (sides.query !== undefined && sides.key !== undefined) {
      isShared = true;
      continue;
    }
    const side = sides.query === undefined ? "key" : "query";
    if (sides.key === 0 && graph.root.input(at) !== undefined) continue;
    const node = graph.producer(at);
    if (node === undefined || node.opType === "Softmax") return false;
    const products = sides[side]! + (isWeightProduct(context, node) ? 1 : 0);
    if (products > mostProducts) return false;
    for (const value of readsData(node)) reach(value, side, products);
  }
  return isShared;
}

/** Whether a node multiplies data by weights. */
export function isWeightProduct(context: AttentionContext, node: NodeProto): boolean {
  return allProducts.has(node.opType) && node.input.slice(0, 2).some((input) => !context.dynamic.has(input));
}

/** Changes of layout or type, quantisation included: the elements stand for the same numbers. */
const sameElements: ReadonlySet<string> = new Set(["Cast", ...layoutOperators, ...quantisation]);

const keepsElements = ({ opType }: NodeProto): boolean => sameElements.has(opType);

/** The earliest value with the same elements as this one, in another layout or type. */
export function throughLayout(context: AttentionContext, value: string): string {
  let at = value;
  for (const node of nodesAlongFirstInput(context.graph, value, keepsElements)) at = node.input[0]!;
  return at;
}
