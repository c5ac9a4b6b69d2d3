import type { GraphProto, ModelProto, NodeProto, TensorProto } from "@favor/onnx";

/** A model's main graph with its wiring: who makes a value, and what a node reads. */
export class GraphWiring {
  readonly model: ModelProto;
  readonly #producers = new Map<string, NodeProto>();
  readonly #initializers: ReadonlyMap<string, TensorProto>;

  constructor(model: ModelProto) {
    this.model = model;
    this.#initializers = new Map(model.graph.initializer.map((tensor) => [tensor.name, tensor]));
    for (const node of model.graph.node) {
      for (const output of node.output) if (output !== "") this.#producers.set(output, node);
    }
  }

  /** In topological order, as ONNX demands of files. */
  get nodes(): readonly NodeProto[] {
    return this.model.graph.node;
  }

  producer(value: string): NodeProto | undefined {
    return this.#producers.get(value);
  }

  initializer(value: string): TensorProto | undefined {
    return this.#initializers.get(value);
  }
}

/** What a node reads: its inputs, then what its bodies (If, Loop, Scan) take from the graph around them. */
export function valuesRead(node: NodeProto): string[] {
  const captured = bodiesOf(node).flatMap(freeNames);
  return [...new Set([...node.input, ...captured])].filter((name) => name !== "");
}

function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((attribute) => (attribute.g ? [attribute.g] : attribute.graphs));
}

function freeNames(body: GraphProto): string[] {
  const own = new Set([...body.input, ...body.initializer].map(({ name }) => name));
  for (const node of body.node) for (const output of node.output) own.add(output);
  const read = [...body.node.flatMap(valuesRead), ...body.output.map(({ name }) => name)];
  return read.filter((name) => !own.has(name));
}
