import type { NodeProto } from "@favor/onnx";
import { matrixProducts, quantisedMatrixProducts } from "@favor/onnx/semantics";
import { parseEinsum } from "@favor/onnx/graph";
import { floatAttribute, intAttribute, stringAttribute } from "@favor/onnx/graph";

/**
 * A product of two tensors in Einstein notation, one label per axis, independent of the operator that computes it.
 * MatMul, Gemm, FusedMatMul, their quantised forms and a two-operand Einsum all have this form. Attention is two of them
 * with a softmax in between.
 */
export interface Product {
  readonly node: NodeProto;
  readonly left: Factor;
  readonly right: Factor;
  readonly output: Factor;
  /** The product is multiplied by this. */
  readonly alpha: number;
  /** Labels of the product's axes, ordered so that positions come last. Default: the output's own order. */
  readonly order?: string;
}

/** A value and the labels of its axes. An axis of size 1 stands for any size, as in broadcasting. */
export interface Factor {
  readonly value: string;
  readonly labels: string;
}

const batchLabels = "abcefgh";
const row = "i";
const column = "j";
const contracted = "d";

/** Whether a node multiplies integers that stand for numbers. */
export function isQuantisedProduct({ opType }: NodeProto): boolean {
  return quantisedMatrixProducts.has(opType);
}

/**
 * The product that a node computes.
 *
 * @param rankOf rank of a value, undefined where unknown
 * @returns undefined if the node is no product of two factors, or their ranks are unknown
 */
export function asProduct(node: NodeProto, rankOf: (value: string) => number | undefined): Product | undefined {
  // QLinearMatMul has scale and zero point of the first factor before the second.
  const [left, right] = node.opType === "QLinearMatMul" ? [node.input[0], node.input[3]] : node.input;
  const output = node.output[0];
  if (left === undefined || right === undefined || output === undefined) return undefined;
  const named = (labels: readonly [string, string, string], alpha: number): Product => ({
    node,
    left: { value: left, labels: labels[0] },
    right: { value: right, labels: labels[1] },
    output: { value: output, labels: labels[2] },
    alpha,
  });
  if (node.opType === "Einsum") {
    const equation = parseEinsum(stringAttribute(node, "equation") ?? "", node.input.map(rankOf));
    if (equation?.inputs.length !== 2) return undefined;
    return named([equation.inputs[0]!, equation.inputs[1]!, equation.output], 1);
  }
  if (node.opType === "Gemm") {
    // A bias would be a second summand; attention has none.
    if ((node.input[2] ?? "") !== "" && floatAttribute(node, "beta", 1) !== 0) return undefined;
    const a = intAttribute(node, "transA", 0) === 1 ? contracted + row : row + contracted;
    const b = intAttribute(node, "transB", 0) === 1 ? column + contracted : contracted + column;
    return named([a, b, row + column], floatAttribute(node, "alpha", 1));
  }
  const isPlain = matrixProducts.has(node.opType);
  if (!isPlain && !isQuantisedProduct(node)) return undefined;
  const ranks = [rankOf(left), rankOf(right)];
  if (ranks[0] === undefined || ranks[1] === undefined || ranks[0] < 2 || ranks[1] < 2) return undefined;
  const batch = Math.max(ranks[0], ranks[1]) - 2;
  if (batch > batchLabels.length) return undefined;
  const shared = batchLabels.slice(0, batch);
  // With the batch transposed, FusedMatMul takes the matrix's first axis before the batch.
  const operand = (side: "A" | "B", rank: number, core: string): string => {
    const repeated = shared.slice(batch - (rank - 2));
    const isMoved = intAttribute(node, `transBatch${side}`, 0) === 1;
    return isMoved ? core.charAt(0) + repeated + core.charAt(1) : repeated + core;
  };
  const a = intAttribute(node, "transA", 0) === 1 ? contracted + row : row + contracted;
  const b = intAttribute(node, "transB", 0) === 1 ? column + contracted : contracted + column;
  return named(
    [operand("A", ranks[0], a), operand("B", ranks[1], b), shared + row + column],
    node.opType === "MatMul" ? 1 : floatAttribute(node, "alpha", 1),
  );
}

/** The labels of a product by their part in it, seen from its left factor. */
export interface ProductAxes {
  /** In both factors and the output: the product is repeated over them. */
  readonly batch: string;
  /** In both factors, not in the output: summed over. */
  readonly contracted: string;
  /** In the left factor alone. */
  readonly left: string;
  /** In the right factor alone. */
  readonly right: string;
}

const within = (labels: string, others: string): string => [...labels].filter((l) => others.includes(l)).join("");
const without = (labels: string, others: string): string => [...labels].filter((l) => !others.includes(l)).join("");

/** The axes of a product; undefined if a label is summed over within one factor, which no attention does. */
export function productAxes(product: Product): ProductAxes | undefined {
  const { left, right, output } = product;
  const shared = within(left.labels, right.labels);
  // A batch axis may be missing from one factor of a MatMul, which then broadcasts over it.
  const axes = {
    batch: within(output.labels, batchLabelsOf(product)),
    contracted: without(shared, output.labels),
    left: without(without(left.labels, right.labels), batchLabelsOf(product)),
    right: without(without(right.labels, left.labels), batchLabelsOf(product)),
  };
  const summedAlone = without(axes.left + axes.right, output.labels);
  return summedAlone === "" && axes.contracted.length === 1 ? axes : undefined;
}

/** Whether a product sums over two axes or more that both factors have: over the rows of an alignment too, say. */
export function isTied({ left, right, output }: Product): boolean {
  return without(within(left.labels, right.labels), output.labels).length > 1;
}

function batchLabelsOf({ node, left, right, output, order }: Product): string {
  if (node.opType === "Einsum") {
    // Among the axes that only one factor has, the last is its position, as in a MatMul; the other factor broadcasts over
    // the rest.
    const ordered = order === undefined ? output.labels : within(order, output.labels);
    const own = (labels: string, others: string): string => without(within(ordered, labels), others);
    const positions = [own(left.labels, right.labels).at(-1), own(right.labels, left.labels).at(-1)];
    return [...output.labels].filter((label) => !positions.includes(label)).join("");
  }
  return output.labels.slice(0, -2);
}
