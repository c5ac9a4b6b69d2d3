import type { AttributeProto, GraphProto, ModelProto, NodeProto } from "@favor/onnx";

/**
 * A model whose graphs and nodes may be edited without touching the original: graphs, nodes and attributes that hold
 * graphs are new at any depth, tensors and everything else are shared.
 */
export function copyModel(model: ModelProto): ModelProto {
  return { ...model, opsetImport: [...model.opsetImport], graph: copyGraph(model.graph) };
}

/** Without recursion: bodies may be nested as deeply as the decoder allows. */
export function copyGraph(graph: GraphProto): GraphProto {
  const copy = shallowGraph(graph);
  const pending = [copy];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    at.node = at.node.map((node) => copyNode(node, (body) => pushed(pending, shallowGraph(body))));
  }
  return copy;
}

/** A node with lists of its own; `copyBody` gives what stands for each of its bodies. */
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

function pushed(list: GraphProto[], graph: GraphProto): GraphProto {
  list.push(graph);
  return graph;
}
