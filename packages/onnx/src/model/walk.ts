import type { AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto } from "./proto.ts";

/**
 * Every graph of a model: the main one first, then those of training steps and those inside attributes of nodes, at
 * any depth, functions' bodies included.
 */
export function modelGraphs(model: ModelProto): GraphProto[] {
  return walk(model).graphs;
}

/** Every tensor of a model: initializers, dense and sparse, of every graph, and tensors in attributes. */
export function modelTensors(model: ModelProto): TensorProto[] {
  return walk(model).tensors;
}

/** Without recursion: `graphs` is at once the result and the list of what is still to be visited. */
function walk(model: ModelProto): { graphs: GraphProto[]; tensors: TensorProto[] } {
  const graphs: GraphProto[] = [];
  const tensors: TensorProto[] = [];
  const addGraph = (graph: GraphProto | null): void => {
    if (graph) graphs.push(graph);
  };
  const addSparse = (sparse: SparseTensorProto): void => {
    if (sparse.values) tensors.push(sparse.values);
    if (sparse.indices) tensors.push(sparse.indices);
  };
  const addAttribute = (attribute: AttributeProto): void => {
    if (attribute.t) tensors.push(attribute.t);
    for (const tensor of attribute.tensors) tensors.push(tensor);
    if (attribute.sparseTensor) addSparse(attribute.sparseTensor);
    attribute.sparseTensors?.forEach(addSparse);
    addGraph(attribute.g);
    attribute.graphs.forEach(addGraph);
  };
  const addNodes = (nodes: readonly NodeProto[]): void => {
    for (const node of nodes) node.attribute.forEach(addAttribute);
  };

  addGraph(model.graph);
  for (const training of model.trainingInfo ?? []) {
    addGraph(training.initialization);
    addGraph(training.algorithm);
  }
  for (const definition of model.functions) {
    definition.attributeProto.forEach(addAttribute);
    addNodes(definition.node);
  }
  // The list grows while it is walked.
  for (const graph of graphs) {
    for (const tensor of graph.initializer) tensors.push(tensor);
    graph.sparseInitializer.forEach(addSparse);
    addNodes(graph.node);
  }
  return { graphs, tensors };
}
