import type { Graph } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

/** Counts how many attentions lie above a node on its longest way to the inputs, in one pass over the graph. */
export class LayerCounter {
  readonly #graph: Graph;
  /** Attentions above what reads a node's outputs, where there are any. */
  readonly #depths = new Map<NodeProto, number>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Attentions above a node. Ask for each of the graph's nodes in their order, and {@link add} it before the next. */
  below(node: NodeProto): number {
    let depth = 0;
    for (const input of node.input) {
      const producer = this.#graph.producer(input);
      if (producer !== undefined) depth = Math.max(depth, this.#depths.get(producer) ?? 0);
    }
    if (depth > 0) this.#depths.set(node, depth);
    return depth;
  }

  /** Counts the node that {@link below} was asked for last as an attention. */
  add(node: NodeProto): void {
    this.#depths.set(node, (this.#depths.get(node) ?? 0) + 1);
  }
}
