import { type Tensor } from "../evaluate/tensor.ts";
import type { GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto } from "../model/proto.ts";
import { readSmallTensor } from "./constants.ts";
import { bodies, nestedGraphs, reachable, valuesRead } from "../model/walk.ts";
import { attribute } from "./node.ts";
import { topologicalOrder } from "./topological-order.ts";

/** Version of each operator set that a model imports, by domain; the standard domain is "". */
export type Opsets = ReadonlyMap<string, number>;

function opsetsOf(model: ModelProto): Opsets {
  return new Map(
    model.opsetImport.map(({ domain, version }) => [domain === "ai.onnx" ? "" : domain, version.toNumber()]),
  );
}

/**
 * A graph with its wiring: which node makes a value, which nodes read it, which values are constant. It is an index over
 * a GraphProto, which remains the only source of truth: edit the proto through these methods, or call `reindex()`.
 *
 * A body of If, Loop or Scan has an `outer` graph, whose values it may read.
 */
export class Graph {
  readonly proto: GraphProto;
  readonly opsets: Opsets;
  readonly outer: Graph | undefined;
  #producers: Map<string, NodeProto> = new Map();
  #consumers: Map<string, NodeProto[]> = new Map();
  #initializers: Map<string, TensorProto> = new Map();
  #inputs: Map<string, ValueInfoProto> = new Map();
  #outputs: Set<string> = new Set();
  #names: Set<string> = new Set();
  /** Whether some initializer is not an input as well. */
  #hasInitializersOfItsOwn = false;
  /** The next number to try after each stem passed to {@link freshName}. */
  #numbers: Map<string, number> = new Map();
  #revision = 0;
  /** The value of {@link Graph.#revisions} for which the numbers hold. */
  #numbered = 0;
  #constants: Map<string, Tensor | undefined> = new Map();
  #places: Map<NodeProto, number> | undefined;
  readonly #bodies: Map<GraphProto, Graph> = new Map();

  /** @throws GraphError "cyclic-graph" */
  constructor(proto: GraphProto, opsets: Opsets, outer?: Graph) {
    this.proto = proto;
    this.opsets = opsets;
    this.outer = outer;
    this.reindex();
  }

  static of(model: ModelProto): Graph {
    return new Graph(model.graph, opsetsOf(model));
  }

  /** The graph of a body that one of this graph's nodes carries: the same object at every call. */
  body(proto: GraphProto): Graph {
    const known = this.#bodies.get(proto);
    if (known !== undefined) return known;
    const body = new Graph(proto, this.opsets, this);
    this.#bodies.set(proto, body);
    return body;
  }

  /** The model's main graph: this one, or the outermost around it. */
  get root(): Graph {
    return this.outer?.root ?? this;
  }

  /** Version of the standard operator set. */
  get opset(): number {
    return this.opsets.get("") ?? 1;
  }

  /** Nodes in topological order. */
  get nodes(): readonly NodeProto[] {
    return this.proto.node;
  }

  reindex(): void {
    this.proto.node = topologicalOrder(this.proto.node);
    this.#producers = new Map();
    this.#consumers = new Map();
    this.#constants = new Map();
    this.#places = undefined;
    this.#revision++;
    this.#initializers = new Map(this.proto.initializer.map((tensor) => [tensor.name, tensor]));
    this.#inputs = new Map(this.proto.input.map((input) => [input.name, input]));
    this.#hasInitializersOfItsOwn = this.proto.initializer.some(({ name }) => !this.#inputs.has(name));
    this.#outputs = new Set(this.proto.output.map((output) => output.name));
    this.#names = new Set([...this.#initializers.keys(), ...this.#inputs.keys(), ...this.#outputs]);
    for (const node of this.proto.node) {
      for (const output of node.output) {
        if (output === "") continue;
        this.#producers.set(output, node);
        this.#names.add(output);
      }
      for (const value of valuesRead(node)) {
        const readers = this.#consumers.get(value);
        if (readers === undefined) this.#consumers.set(value, [node]);
        else readers.push(node);
      }
      for (const body of bodies(node)) collectNames(body, this.#names);
    }
  }

  /** The node of this graph that makes the value; undefined for inputs, initializers and outer values. */
  producer(value: string): NodeProto | undefined {
    return this.#producers.get(value);
  }

  /** Place of one of this graph's nodes in the topological order, as of the last `reindex()`. */
  place(node: NodeProto): number {
    this.#places ??= new Map(this.nodes.map((each, place) => [each, place]));
    return this.#places.get(node)!;
  }

  /** Nodes of this graph in its topological order. */
  sorted(nodes: Iterable<NodeProto>): NodeProto[] {
    return [...nodes].toSorted((a, b) => this.place(a) - this.place(b));
  }

  /** The nodes of this graph that read the value, each once; nodes whose bodies capture it included. */
  consumers(value: string): readonly NodeProto[] {
    return this.#consumers.get(value) ?? [];
  }

  /** The initializer of that name, here or in an outer graph. */
  initializer(value: string): TensorProto | undefined {
    return this.#initializers.get(value) ?? (this.defines(value) ? undefined : this.outer?.initializer(value));
  }

  /** Whether this graph itself makes or declares the value. */
  defines(value: string): boolean {
    return this.#producers.has(value) || this.#initializers.has(value) || this.#inputs.has(value);
  }

  /** Inputs that a caller must feed: those without an initializer as their default. */
  get inputs(): readonly ValueInfoProto[] {
    return this.proto.input.filter(({ name }) => !this.#initializers.has(name));
  }

  /**
   * Whether a value is a default that a caller may replace: an initializer that is also an input. Files of the oldest
   * versions list every initializer as an input, so there it means nothing.
   */
  isOverridable(value: string): boolean {
    if (this.outer !== undefined) return !this.defines(value) && this.outer.isOverridable(value);
    return this.#initializers.has(value) && this.#inputs.has(value) && this.#hasInitializersOfItsOwn;
  }

  input(value: string): ValueInfoProto | undefined {
    return this.#inputs.get(value);
  }

  /** The graph, this or an outer one, whose node makes the value; undefined for inputs and initializers. */
  owner(value: string): Graph | undefined {
    if (this.#producers.has(value)) return this;
    return this.defines(value) ? undefined : this.outer?.owner(value);
  }

  isOutput(value: string): boolean {
    return this.#outputs.has(value);
  }

  /** Whether the value is an initializer, or the output of a Constant node. */
  isConstant(value: string): boolean {
    const node = this.#producers.get(value);
    if (node !== undefined) return node.opType === "Constant";
    if (this.#initializers.has(value)) return true;
    return !this.#inputs.has(value) && (this.outer?.isConstant(value) ?? false);
  }

  /** Shape and type of an initializer, without reading it. */
  initializerShape(value: string): { dims: number[]; dataType: number } | undefined {
    const tensor = this.constantProto(value);
    return tensor && { dims: tensor.dims.map((dim) => dim.toNumber()), dataType: tensor.dataType };
  }

  /** The TensorProto behind a constant value. */
  constantProto(value: string): TensorProto | undefined {
    const node = this.#producers.get(value);
    if (node !== undefined) return node.opType === "Constant" ? (attribute(node, "value")?.t ?? undefined) : undefined;
    return this.#initializers.get(value) ?? (this.#inputs.has(value) ? undefined : this.outer?.constantProto(value));
  }

  /** The values of a small constant (see `readSmallTensor`); undefined if not constant, too large or not numeric. */
  constant(value: string): Tensor | undefined {
    if (this.#constants.has(value)) return this.#constants.get(value);
    const node = this.#producers.get(value);
    const found =
      node === undefined && !this.#initializers.has(value)
        ? this.#inputs.has(value)
          ? undefined
          : this.outer?.constant(value)
        : readSmallTensor(node ?? this.#initializers.get(value)!);
    this.#constants.set(value, found);
    return found;
  }

  /** A name that nothing in this graph, its bodies or its outer graphs uses, beginning with `stem`. */
  freshName(stem: string): string {
    // Names come free in reindex() alone, of this graph or of one around it: until then no lower number is.
    if (this.#numbered !== this.#revisions) this.#numbers.clear();
    this.#numbered = this.#revisions;
    let number = this.#numbers.get(stem) ?? 0;
    let name = number === 0 ? stem : `${stem}_${number}`;
    while (this.#isTaken(name)) name = `${stem}_${++number}`;
    this.#numbers.set(stem, number + 1);
    // Outer graphs must not take the name later: a body's names are not to shadow theirs.
    for (let graph: Graph | undefined = this as Graph; graph !== undefined; graph = graph.outer) graph.#names.add(name);
    return name;
  }

  get #revisions(): number {
    return this.#revision + (this.outer === undefined ? 0 : this.outer.#revisions);
  }

  #isTaken(name: string): boolean {
    return this.#names.has(name) || (this.outer !== undefined && this.outer.#isTaken(name));
  }

  /** Adds nodes and initializers; call `reindex()` when done with a group of edits. */
  add(nodes: readonly NodeProto[], initializers: readonly TensorProto[] = []): void {
    // Not spread, because there may be more nodes than a call may have arguments.
    for (const node of nodes) this.proto.node.push(node);
    for (const tensor of initializers) this.proto.initializer.push(tensor);
  }

  /** Adds an initializer that can be looked up at once. */
  addInitializer(tensor: TensorProto): void {
    this.proto.initializer.push(tensor);
    this.#initializers.set(tensor.name, tensor);
    this.#names.add(tensor.name);
  }

  /**
   * Removes the nodes that no output depends on, and the initializers and value infos that nothing names any more.
   * Inputs stay: a caller feeds them by name.
   */
  removeDead(): void {
    const live = new Set<NodeProto>();
    const readBy = (value: string): Iterable<string> => {
      const node = this.#producers.get(value);
      if (node === undefined || live.has(node)) return [];
      live.add(node);
      return valuesRead(node);
    };
    const outputs = this.proto.output.map(({ name }) => name);
    const needed = new Set(reachable(outputs, readBy));
    this.proto.node = this.proto.node.filter((node) => live.has(node));
    this.proto.initializer = this.proto.initializer.filter(({ name }) => needed.has(name) || this.#inputs.has(name));
    const made = new Set(this.proto.node.flatMap((node) => node.output));
    this.proto.valueInfo = this.proto.valueInfo.filter(({ name }) => made.has(name));
    this.reindex();
  }
}

function collectNames(graph: GraphProto, names: Set<string>): void {
  for (const body of nestedGraphs([graph])) {
    for (const { name } of [...body.input, ...body.output, ...body.initializer]) names.add(name);
    for (const node of body.node) for (const output of node.output) names.add(output);
  }
}
