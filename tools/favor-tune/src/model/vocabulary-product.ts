import type { Graph } from "@favor/onnx/graph";

/**
 * Finds the value whose rows can be selected instead of those of the logits: the input of the product with the vocabulary,
 * if only a bias follows the product, otherwise the logits themselves. Selecting the masked rows there saves most of the
 * cost of the head, which works on each row separately.
 *
 * @param logits - name of the output, `[batch, length, vocabulary]`.
 */
export function rowsToChoose(logits: string, graph: Graph): string {
  for (let value = logits; ;) {
    const node = graph.producer(value);
    if (node === undefined) return logits;
    if (node.opType === "MatMul") return isFixed(node.input[1]!, graph) ? node.input[0]! : logits;
    const varying = node.input.filter((input) => !isFixed(input, graph));
    if (!["Add", "Identity", "Cast"].includes(node.opType) || varying.length !== 1) return logits;
    value = varying[0]!;
  }
}

/** Whether a value depends only on weights. */
function isFixed(value: string, graph: Graph): boolean {
  if (value === "" || graph.initializer(value) !== undefined) return true;
  const node = graph.producer(value);
  return node !== undefined && node.input.every((input) => isFixed(input, graph));
}
