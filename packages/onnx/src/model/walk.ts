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

/** The graphs that a node carries: the bodies of If, Loop and Scan. */
export function bodies(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap(({ g, graphs }) => (g ? [g, ...graphs] : graphs));
}

/**
 * Graphs and the bodies in them, at any depth, the last first. A graph's nodes are looked at after the graph was handed
 * out, so the caller may replace them.
 */
export function* nestedGraphs(graphs: readonly GraphProto[]): Generator<GraphProto> {
  const pending = [...graphs];
  for (let graph = pending.pop(); graph !== undefined; graph = pending.pop()) {
    yield graph;
    for (const node of graph.node) pending.push(...bodies(node));
  }
}

/** The values that a node reads: its inputs, then what its bodies capture from the graphs around them, at any depth. */
export function valuesRead(node: NodeProto): Set<string> {
  const read = new Set(node.input.filter((name) => name !== ""));
  const pending = bodies(node).map((graph) => ({ graph, scope: scopeOf(graph) }));
  for (let body = pending.pop(); body !== undefined; body = pending.pop()) {
    const { graph, scope } = body;
    const add = (name: string): void => {
      if (name !== "" && !isDefined(name, scope)) read.add(name);
    };
    for (const { name } of graph.output) add(name);
    for (const inner of graph.node) {
      inner.input.forEach(add);
      for (const innermost of bodies(inner)) pending.push({ graph: innermost, scope: scopeOf(innermost, scope) });
    }
  }
  return read;
}

/** The values of a body, and those of the body around it. */
interface Scope {
  readonly defined: ReadonlySet<string>;
  readonly outer: Scope | undefined;
}

function scopeOf(graph: GraphProto, outer?: Scope): Scope {
  const defined = new Set<string>();
  for (const { name } of graph.input) defined.add(name);
  for (const { name } of graph.initializer) defined.add(name);
  for (const { values } of graph.sparseInitializer) if (values) defined.add(values.name);
  for (const node of graph.node) for (const output of node.output) defined.add(output);
  return { defined, outer };
}

function isDefined(name: string, scope: Scope): boolean {
  for (let at: Scope | undefined = scope; at !== undefined; at = at.outer) if (at.defined.has(name)) return true;
  return false;
}

/**
 * The way up from values, depth first, the last of several first: each value that is met, with the node that makes it,
 * then what that node reads. No node is met twice, so of its outputs only the first met is handed out.
 *
 * @param producer the node that makes a value; undefined where the way ends
 * @param reads what the way goes on with above a node
 */
export function* valuesAbove(
  values: Iterable<string>,
  producer: (value: string) => NodeProto | undefined,
  reads: (node: NodeProto) => Iterable<string>,
): Generator<readonly [value: string, node: NodeProto | undefined]> {
  const met = new Set<NodeProto>();
  const pending = [...values];
  for (let value = pending.pop(); value !== undefined; value = pending.pop()) {
    if (value === "") continue;
    const node = producer(value);
    if (node !== undefined && met.has(node)) continue;
    yield [value, node];
    if (node === undefined) continue;
    met.add(node);
    // A node may read more values than a call takes arguments.
    for (const other of reads(node)) pending.push(other);
  }
}

/**
 * What can be reached from `start` step by step, itself included: each once, depth first, the last of several first.
 *
 * @param next one step on; called after what it goes on from was handed out
 * @param limit the walk ends once it has seen so many; default no limit
 */
export function* reachable<T>(
  start: Iterable<T>,
  next: (at: T) => Iterable<T>,
  limit: number = Infinity,
): Generator<T> {
  const seen = new Set(start);
  const pending = [...seen];
  for (let at = pending.pop(); at !== undefined && seen.size < limit; at = pending.pop()) {
    yield at;
    for (const other of next(at)) {
      if (seen.has(other)) continue;
      seen.add(other);
      pending.push(other);
    }
  }
}
