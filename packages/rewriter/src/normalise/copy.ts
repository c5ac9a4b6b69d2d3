import { nestedGraphs } from "@favor/onnx/graph";
import type { AttributeProto, GraphProto, ModelProto, NodeProto } from "@favor/onnx";

/**
 * A model whose graphs and nodes may be edited without touching the original: graphs, nodes and attributes that hold
 * graphs are new at any depth, tensors and everything else are shared.
 */
export class CopiedModel {
  readonly model: ModelProto;
  readonly #copies = new Map<NodeProto | GraphProto, NodeProto | GraphProto>();

  constructor(original: ModelProto) {
    this.model = {
      ...original,
      opsetImport: original.opsetImport.map((entry) => ({ ...entry })),
      metadataProps: [...original.metadataProps],
      graph: this.#copyGraph(original.graph),
    };
  }

  /** The copy of one of the original's graphs or nodes, at any depth. */
  of<T extends NodeProto | GraphProto>(original: T): T {
    return this.#copies.get(original) as T;
  }

  /** Without recursion: bodies may be nested as deeply as the decoder allows. */
  #copyGraph(original: GraphProto): GraphProto {
    const shallow = (graph: GraphProto): GraphProto => {
      const copy = shallowGraph(graph);
      this.#copies.set(graph, copy);
      return copy;
    };
    const copied = shallow(original);
    for (const at of nestedGraphs([copied])) {
      at.node = at.node.map((node) => {
        const copy = copyNode(node, shallow);
        this.#copies.set(node, copy);
        return copy;
      });
    }
    return copied;
  }
}

/** A copy of a node with its own lists; `copyBody` gives the replacement of each of its bodies. */
export function copyNode(node: NodeProto, copyBody: (body: GraphProto) => GraphProto): NodeProto {
  const attribute = node.attribute.map((attr): AttributeProto =>
    attr.g || attr.graphs.length > 0
      ? { ...attr, g: attr.g && copyBody(attr.g), graphs: attr.graphs.map(copyBody) }
      : attr,
  );
  return { ...node, input: [...node.input], output: [...node.output], attribute };
}

export function shallowGraph(graph: GraphProto): GraphProto {
  return {
    ...graph,
    node: [...graph.node],
    initializer: [...graph.initializer],
    input: [...graph.input],
    output: [...graph.output],
    valueInfo: [...graph.valueInfo],
  };
}
