import { elementCount } from "@favor/onnx/evaluate";
import type { NodeProto } from "@favor/onnx";
import { dimsOf, countSteps, type AttentionContext } from "../context.ts";
import { dataReaders, valuesAbove } from "@favor/onnx/graph";
import { asProduct, isTied, productAxes, type Product } from "../product.ts";

/**
 * Two products of data with a normalisation in between: logits S = Q.K, probabilities P = f(S), output P.V. Only the
 * wiring is found here; `softmax-law.ts` proves whether f is a softmax.
 */
export interface Region {
  readonly logits: Product;
  readonly output: Product;
  /** Where the probabilities enter the output product. */
  readonly probabilities: { readonly value: string; readonly side: "left" | "right" };
  /** Nodes on the paths from the logits to the probabilities, in graph order, without the products. */
  readonly nodes: readonly NodeProto[];
  /** Values computed in the region that something outside reads, or that are graph outputs. */
  readonly escapes: readonly string[];
}

/** Labels of the region's ends: which axes are batch, query and key. */
export interface RegionLabels {
  /** Labels of the logits' axes, in the order of the graph's tensor; the canonical order is batch, query, key. */
  readonly logits: { readonly labels: string; readonly batch: string; readonly query: string; readonly key: string };
  readonly probabilities: {
    readonly labels: string;
    readonly batch: string;
    readonly query: string;
    readonly key: string;
  };
}

const normalisers = new Set(["Softmax", "QLinearSoftmax", "Exp", "LogSoftmax", "Hardmax", "Sigmoid", "Relu"]);
const maximalRegion = 96;

/** All products in which both factors are data, including tied ones. */
export function dataProducts(context: AttentionContext): Product[] {
  const rankOf = (value: string): number | undefined => dimsOf(context, value)?.length;
  return context.graph.nodes.flatMap((node) => {
    const product = asProduct(node, rankOf);
    if (product === undefined || !product.left.value || !product.right.value) return [];
    const data = context.dynamic.has(product.left.value) && context.dynamic.has(product.right.value);
    return data && (productAxes(product) !== undefined || isTied(product)) ? [product] : [];
  });
}

/** The region that begins at a product, or undefined if no normalisation leads from it to a second product. */
export function findRegion(
  context: AttentionContext,
  logits: Product,
  products: ReadonlyMap<NodeProto, Product>,
): Region | undefined {
  const { graph } = context;
  const reached = forward(context, logits, products);
  for (const output of reached.products) {
    const sides = (["left", "right"] as const).filter((side) => reached.values.has(output[side].value));
    const side = sides[0];
    // A product of two things made from the same logits is not P.V.
    if (side === undefined || sides.length > 1) continue;
    const value = output[side].value;
    const nodes = backward(context, value, reached.nodes);
    if (!nodes.some((node) => normalisers.has(node.opType))) continue;
    const inside = new Set(nodes);
    const made = [logits.output.value, ...nodes.flatMap((node) => node.output)].filter((name) => name !== "");
    const isOutside = (node: NodeProto): boolean =>
      !inside.has(node) && node !== output.node && isNeeded(context, node);
    const escapes = made.filter((name) => graph.isOutput(name) || dataReaders(graph, name).some(isOutside));
    // Probabilities end in query and key; what an Einsum makes of them need not.
    const order = output[side].labels + output[side === "left" ? "right" : "left"].labels;
    return { logits, output: { ...output, order }, probabilities: { value, side }, nodes, escapes };
  }
  return undefined;
}

/** Whether anything reads the contents of a node's outputs, not only their shapes. */
function isNeeded({ graph }: AttentionContext, { output }: NodeProto): boolean {
  return output.some((name) => graph.isOutput(name) || dataReaders(graph, name).length > 0);
}

/** The nodes that can be reached from the logits through values of the same size, or of one statistic per row. */
function forward(
  context: AttentionContext,
  logits: Product,
  products: ReadonlyMap<NodeProto, Product>,
): { nodes: Set<NodeProto>; values: Set<string>; products: Set<Product> } {
  const dims = dimsOf(context, logits.output.value) ?? [];
  const size = elementCount(dims);
  const [rows, columns] = [dims.at(-2) ?? 1, dims.at(-1) ?? 1];
  // The logits, a statistic of each row or column, of each head, or of all.
  const sizes = new Set([size, size / columns, size / rows, size / (rows * columns), 1]);
  const nodes = new Set<NodeProto>();
  const values = new Set([logits.output.value]);
  const found = new Set<Product>();
  const pending = [logits.output.value];
  for (let value = pending.shift(); value !== undefined; value = pending.shift()) {
    const readers = dataReaders(context.graph, value);
    countSteps(context, readers.length);
    for (const node of readers) {
      if (nodes.has(node) || node === logits.node) continue;
      const product = products.get(node);
      if (product !== undefined) {
        if (carriesProbabilities(context, product, values, size)) found.add(product);
        continue;
      }
      const outputs = node.output.filter((name) => name !== "");
      const fits =
        node.opType === "TopK" ||
        outputs.some((name) => sizes.has(sizeOf(context, name)) || hasExtraKeys(dimsOf(context, name), dims));
      if (!fits || nodes.size > maximalRegion) continue;
      nodes.add(node);
      for (const output of outputs) {
        values.add(output);
        pending.push(output);
      }
    }
  }
  return { nodes, values, products: found };
}

/** Whether a value has the logits' shape except for a few more keys: an attention sink. */
function hasExtraKeys(dims: readonly number[] | undefined, logits: readonly number[]): boolean {
  if (dims?.length !== logits.length) return false;
  const extra = dims.map((dim, axis) => dim - logits[axis]!);
  return extra.every((more) => more >= 0 && more <= 8) && extra.filter((more) => more > 0).length === 1;
}

function sizeOf(context: AttentionContext, value: string): number {
  const dims = dimsOf(context, value);
  return dims === undefined ? -1 : elementCount(dims);
}

function carriesProbabilities(
  context: AttentionContext,
  product: Product,
  values: ReadonlySet<string>,
  size: number,
): boolean {
  return (["left", "right"] as const).some(
    (side) => values.has(product[side].value) && sizeOf(context, product[side].value) === size,
  );
}

/** The nodes of `within` that `value` depends on, in graph order. */
function backward({ graph }: AttentionContext, value: string, within: ReadonlySet<NodeProto>): NodeProto[] {
  const producer = (name: string): NodeProto | undefined => {
    const node = graph.producer(name);
    return node !== undefined && within.has(node) ? node : undefined;
  };
  const needed = [...valuesAbove([value], producer, ({ input }) => input)].flatMap(([, node]) => node ?? []);
  return graph.sorted(needed);
}
