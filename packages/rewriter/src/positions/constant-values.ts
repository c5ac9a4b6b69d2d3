import { evaluateGraph } from "@favor/onnx/evaluate";
import { decodeTensor, type Tensor } from "@favor/onnx/evaluate";
import { ancestors } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import { bodies } from "@favor/onnx/graph";
import { valuesRead } from "@favor/onnx/graph";

/**
 * The values that follow from constants alone: initializers, Constant nodes, and what nodes make of them whatever is
 * fed. A table may be cast, dequantised or unsqueezed before it is read.
 */
export function constantValues(graph: Graph): (value: string) => boolean {
  const made = new Set<string>();
  const isConstant = (value: string): boolean => made.has(value) || graph.isConstant(value);
  for (const node of graph.nodes) {
    // RandomNormal and its like read nothing, or a constant, and still differ from run to run.
    if (node.opType.startsWith("Random") || node.opType === "Bernoulli" || bodies(node).length > 0) continue;
    const read = [...valuesRead(node)];
    if (read.length > 0 && read.every(isConstant)) for (const output of node.output) made.add(output);
  }
  return isConstant;
}

/**
 * A value for which {@link constantValues} holds.
 *
 * @throws FavorError if it cannot be read or computed
 */
export function readConstant(graph: Graph, value: string): Tensor {
  const stored = graph.constantProto(value);
  if (stored !== undefined) return decodeTensor(stored);
  const nodes = ancestors(graph, [value]);
  return evaluateGraph(nodes, [value], new Map(), {
    opsets: graph.opsets,
    initializer: (name) => graph.initializer(name),
  }).get(value)!;
}
