import { AttributeType, type AttributeProto, type GraphProto, type NodeProto } from "../model/proto.ts";

/**
 * One node with its inputs, as an implementation of its operator sees it: typed attributes, axes, and what one operator
 * set keeps in an attribute and another in an input. `Value` is what the implementation computes with.
 */
export abstract class NodeCall<Value> {
  readonly node: NodeProto;
  readonly inputs: readonly (Value | null)[];
  /** Version of the node's operator set; one that is not imported counts as the newest. */
  readonly opset: number;

  /** @param opsets version of each operator set, by domain; the standard one is "" */
  constructor(node: NodeProto, inputs: readonly (Value | null)[], opsets: ReadonlyMap<string, number>) {
    this.node = node;
    this.inputs = inputs;
    this.opset = opsets.get(node.domain === "ai.onnx" ? "" : node.domain) ?? Infinity;
  }

  /** Throws: the node, or its inputs, break the operator's specification. */
  abstract fail(found: string, cause?: unknown): never;

  /**
   * Throws like {@link fail}, for sizes that do not fit each other. At other sizes of the model's inputs, the node may run.
   *
   * @param _sizes sizes that the node may insist on
   */
  misfit(found: string, _sizes: readonly number[] = []): never {
    return this.fail(found);
  }

  /** An integer input, as a list: shapes, axes, indices. `undefined` if absent. */
  abstract integers(index: number): number[] | undefined;

  /** The input at `index`; an error if the node leaves it out. */
  input(index: number): Value {
    return this.inputs[index] ?? this.fail(`input ${index} is required and absent`);
  }

  optional(index: number): Value | null {
    return this.inputs[index] ?? null;
  }

  /** The inputs that are present, at least one. */
  present(): Value[] {
    const present = this.inputs.filter((input) => input !== null);
    if (present.length === 0) this.fail("at least one input is required");
    return present;
  }

  /** Integers that older operator sets keep in the attribute `name` and newer ones in input `index`. */
  integersOr(index: number, name: string): number[] | undefined {
    return this.integers(index) ?? this.ints(name);
  }

  /** Whether the node names the output at `index`, so that it must be computed. */
  wants(index: number): boolean {
    return (this.node.output[index] ?? "") !== "";
  }

  attribute(name: string): AttributeProto | undefined {
    return this.node.attribute.find((attribute) => attribute.name === name);
  }

  int(name: string): number | undefined;
  int(name: string, otherwise: number): number;
  int(name: string, otherwise?: number): number | undefined {
    return this.attribute(name)?.i.toNumber() ?? otherwise;
  }

  ints(name: string): number[] | undefined {
    return this.attribute(name)?.ints.map((value) => value.toNumber());
  }

  float(name: string): number | undefined;
  float(name: string, otherwise: number): number;
  float(name: string, otherwise?: number): number | undefined {
    return this.attribute(name)?.f ?? otherwise;
  }

  string(name: string, otherwise: string): string {
    const found = this.attribute(name);
    // Names of modes and equations are ASCII.
    return found === undefined ? otherwise : String.fromCharCode(...found.s.subarray(0, 4096));
  }

  graph(name: string): GraphProto {
    const found = this.attribute(name);
    if (found === undefined || found.type !== AttributeType.GRAPH || found.g === null) {
      return this.fail(`attribute ${name} must be a graph`);
    }
    return found.g;
  }

  /** `axis` counted from the front, in [0, rank - 1], or in [0, rank] with `end`. */
  axis(axis: number, rank: number, end: boolean = false): number {
    // Scalars have no axis, but exporters do say 0 or -1 for them.
    if (rank === 0 && (axis === 0 || axis === -1)) return 0;
    const positive = axis < 0 ? axis + rank : axis;
    if (!(positive >= 0 && positive <= (end ? rank : rank - 1))) {
      this.fail(`axis ${axis} is out of bounds for rank ${rank}`);
    }
    return positive;
  }
}

/** How messages name a node: `MatMul "/layer.0/scores"`, or by its first output if it has no name. */
export function describeNode(node: NodeProto): string {
  const operator = node.domain === "" || node.domain === "ai.onnx" ? node.opType : `${node.domain}.${node.opType}`;
  return node.name === "" ? `${operator} (output "${node.output[0] ?? ""}")` : `${operator} "${node.name}"`;
}

/** A node in the details of an error. */
export function nodeFacts(node: NodeProto): Record<string, unknown> {
  return { domain: node.domain, opType: node.opType, node: node.name, output: node.output[0] ?? "" };
}

/** A shape for messages. */
export function shown(dims: readonly number[]): string {
  return `[${dims.join(", ")}]`;
}
