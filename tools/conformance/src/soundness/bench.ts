import Long from "long";
import {
  createMessage,
  DataType,
  makeTensor,
  tensorValues,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from "@favor/onnx";
import type { Choices } from "../fuzz/random.ts";
import type { ValueShape } from "./corpus.ts";

/** An attribute of a node to be made. */
export type Attributes = Readonly<Record<string, number | readonly number[] | string | { float: number }>>;

/** A graph on which nodes are inserted and rewired, and what is known of its values. */
export class Bench {
  readonly model: ModelProto;
  readonly graph: GraphProto;
  readonly choices: Choices;
  readonly opset: number;
  readonly #shapes: Map<string, ValueShape>;
  #made = 0;

  constructor(model: ModelProto, shapes: ReadonlyMap<string, ValueShape>, choices: Choices) {
    this.model = model;
    this.graph = model.graph;
    this.choices = choices;
    this.opset = model.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx")?.version.toNumber() ?? 1;
    this.#shapes = new Map(shapes);
  }

  shape(value: string): ValueShape | undefined {
    return this.#shapes.get(value);
  }

  dims(value: string): readonly number[] {
    return this.#shapes.get(value)?.dims ?? [];
  }

  /** All values of known size and type. */
  get values(): string[] {
    return [...this.#shapes.keys()];
  }

  producer(value: string): NodeProto | undefined {
    return this.graph.node.find((node) => value !== "" && node.output.includes(value));
  }

  consumers(value: string): NodeProto[] {
    return this.graph.node.filter((node) => node.input.includes(value));
  }

  isConstant(value: string): boolean {
    return this.tensor(value) !== undefined;
  }

  /** The tensor of an initializer or of a Constant node. */
  tensor(value: string): TensorProto | undefined {
    const initializer = this.graph.initializer.find(({ name }) => name === value);
    if (initializer !== undefined) return initializer;
    const node = this.producer(value);
    return (node?.opType === "Constant" && node.attribute.find(({ name }) => name === "value")?.t) || undefined;
  }

  /** A constant's numbers. */
  numbers(value: string): number[] | undefined {
    const tensor = this.tensor(value);
    return tensor && Array.from(tensorValues(tensor).data as ArrayLike<number | bigint>, Number);
  }

  /** A new constant. */
  constant(dataType: number, dims: readonly number[], values: readonly number[]): string {
    const name = this.#name();
    const data = typedArray(dataType, values);
    this.graph.initializer.push(makeTensor(name, dims, dataType, data));
    return name;
  }

  float(value: number, like?: string): string {
    return this.constant((like && this.shape(like)?.dataType) || DataType.FLOAT, [], [value]);
  }

  integers(...values: number[]): string {
    return this.constant(DataType.INT64, [values.length], values);
  }

  /**
   * A new node at the end of the graph, which {@link sorted} moves to its place.
   *
   * @param like a value of the same size and type as the output, if there is one
   */
  op(opType: string, input: readonly string[], attributes: Attributes = {}, like?: string): string {
    const output = this.#name();
    const attribute = Object.entries(attributes).map(([name, value]) => attributeOf(name, value));
    this.graph.node.push(
      createMessage("NodeProto", { opType, input: [...input], output: [output], name: output, attribute }),
    );
    const shape = like && this.shape(like);
    if (shape) this.#shapes.set(output, shape);
    return output;
  }

  /** Redirects every reader of `value` to what `make` makes of it. */
  insertAfter(value: string, make: (value: string) => string): void {
    const readers = this.consumers(value);
    const made = make(value);
    for (const node of readers) node.input = node.input.map((name) => (name === value ? made : name));
  }

  /** Lets one node read what `make` makes of one of its inputs. */
  insertBefore(node: NodeProto, at: number, make: (value: string) => string): void {
    const made = make(node.input[at]!);
    node.input[at] = made;
  }

  /** Lets the last new node make what another made, which goes. */
  rename(made: string, node: NodeProto): void {
    const value = node.output[0]!;
    this.graph.node = this.graph.node.filter((other) => other !== node);
    const maker = this.producer(made)!;
    maker.output = maker.output.map((name) => (name === made ? value : name));
  }

  /** The outputs of a second node like this one. */
  copyOf(node: NodeProto): string[] {
    const output = node.output.map(() => this.#name());
    this.graph.node.push({ ...node, name: output[0]!, input: [...node.input], output });
    node.output.forEach((value, i) => {
      const shape = this.shape(value);
      if (shape) this.#shapes.set(output[i]!, shape);
    });
    return output;
  }

  /** A constant of an initializer from a Constant node, one of a node as an initializer. */
  heldOtherwise(value: string): string {
    const name = this.#name();
    const tensor = { ...this.tensor(value)!, name };
    if (this.producer(value) !== undefined) {
      this.graph.initializer.push(tensor);
      return name;
    }
    const attribute = [createMessage("AttributeProto", { name: "value", type: 4, t: tensor })];
    this.graph.node.push(createMessage("NodeProto", { opType: "Constant", output: [name], name, attribute }));
    return name;
  }

  unsqueeze(value: string, axes: readonly number[]): string {
    if (this.opset < 13) return this.op("Unsqueeze", [value], { axes });
    return this.op("Unsqueeze", [value, this.integers(...axes)]);
  }

  cast(value: string, to: number): string {
    const output = this.op("Cast", [value], { to });
    const dims = this.shape(value)?.dims;
    if (dims) this.#shapes.set(output, { dims, dataType: to });
    return output;
  }

  /** Records that a value is as large as another and of this type. */
  learn(value: string, shape: ValueShape): string {
    this.#shapes.set(value, shape);
    return value;
  }

  /** Orders the nodes so that each comes after what it reads; a cycle stays, and the runtime refuses it. */
  sort(): void {
    const made = new Map(this.graph.node.flatMap((node) => node.output.map((value) => [value, node] as const)));
    const placed = new Set<NodeProto>();
    const open = new Set<NodeProto>();
    const place = (node: NodeProto): void => {
      if (placed.has(node) || open.has(node)) return;
      open.add(node);
      for (const value of read(node)) {
        const producer = made.get(value);
        if (producer !== undefined && value !== "") place(producer);
      }
      placed.add(node);
    };
    for (const node of this.graph.node) place(node);
    this.graph.node = [...placed];
  }

  #name(): string {
    return `mutated_${this.#made++}`;
  }
}

/** What a node reads, its bodies included. */
function read(node: NodeProto): string[] {
  const bodies = node.attribute.flatMap(({ g, graphs }) => (g ? [g] : graphs));
  return [
    ...node.input,
    ...bodies.flatMap((body) => [...body.node.flatMap(read), ...body.output.map(({ name }) => name)]),
  ];
}

function typedArray(dataType: number, values: readonly number[]) {
  switch (dataType) {
    case DataType.INT64:
      return BigInt64Array.from(values, (value) => BigInt(Math.round(value)));
    case DataType.INT32:
      return Int32Array.from(values);
    case DataType.BOOL:
      return Uint8Array.from(values);
    default:
      return Float32Array.from(values);
  }
}

/** An attribute of a node. */
export function attributeOf(name: string, value: Attributes[string]): AttributeProto {
  const make = (fields: Partial<AttributeProto>): AttributeProto =>
    createMessage("AttributeProto", { name, ...fields });
  if (typeof value === "number") return make({ type: 2, i: Long.fromNumber(value) });
  if (typeof value === "string") return make({ type: 3, s: new TextEncoder().encode(value) });
  if ("float" in value) return make({ type: 1, f: value.float });
  return make({ type: 7, ints: value.map((entry) => Long.fromNumber(entry)) });
}
