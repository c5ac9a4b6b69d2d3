import type { Graph } from "@favor/onnx/graph";
import type { NodeProto } from "@favor/onnx";

/** Counts how many attentions lie above a node on its longest way to the inputs. */
export class LayerCounter {
  readonly #graph: Graph;
  readonly #counted = new Set<NodeProto>();
  #depths: Map<NodeProto, number> | undefined;

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  add(node: NodeProto): void {
    this.#counted.add(node);
    this.#depths = undefined;
  }

  below(node: NodeProto): number {
    this.#depths ??= this.#compute();
    return this.#depths.get(node) ?? 0;
  }

  #compute(): Map<NodeProto, number> {
    const depths = new Map<NodeProto, number>();
    for (const node of this.#graph.nodes) {
      let depth = 0;
      for (const input of node.input) {
        const producer = this.#graph.producer(input);
        if (producer === undefined) continue;
        depth = Math.max(depth, (depths.get(producer) ?? 0) + (this.#counted.has(producer) ? 1 : 0));
      }
      depths.set(node, depth);
    }
    return depths;
  }
}
