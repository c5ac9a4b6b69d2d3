import type { Graph } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

/** Counts how many attentions lie above a node on its longest path to the inputs, in one pass over the graph. */
export class LayerCounter {
  readonly #graph: Graph;
  /** Number of attentions above the readers of a node's outputs; no entry for 0. */
  readonly #depths = new Map<NodeProto, number>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  /** Number of attentions above a node. Ask for the nodes in graph order, and {@link add} each before the next. */
  below(node: NodeProto): number {
    let depth = 0;
    for (const input of node.input) {
      const producer = this.#graph.producer(input);
      if (producer !== undefined) depth = Math.max(depth, this.#depths.get(producer) ?? 0);
    }
    if (depth > 0) this.#depths.set(node, depth);
    return depth;
  }

  /** Counts the node last passed to {@link below} as an attention. */
  add(node: NodeProto): void {
    this.#depths.set(node, (this.#depths.get(node) ?? 0) + 1);
  }
}
