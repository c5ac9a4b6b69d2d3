import {
  AttributeType,
  decodeTensor,
  evaluateNode,
  type AttributeProto,
  type EvaluationLimits,
  type GraphProto,
  type NodeProto,
  type Tensor as HostTensor,
} from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { OperatorError, UnsupportedOperatorError } from "./errors.ts";
import { dimsOf, isDevice, toHost, type Value } from "./value.ts";

/** What an operator may know beyond its node and inputs. */
export interface OperatorContext {
  /** Version of each operator set, by domain; the standard one is "". */
  readonly opset: ReadonlyMap<string, number>;
  /** Runs the body of an If, Loop or Scan: values for its inputs in, one value for each of its outputs out. */
  readonly runBody: (body: GraphProto, inputs: readonly (Value | null)[]) => Value[];
  /** The tensor on the device; the run owns it, and uploads no tensor twice. */
  readonly upload: (tensor: HostTensor) => tf.Tensor;
}

/**
 * Computes the outputs of one node, in the order of `node.output`; differentiable by tfjs. It runs in a `tf.tidy` of
 * its own, and only where an input is on the device or the node has bodies: the host evaluates all other nodes.
 */
export type Operator = (call: OperatorCall) => readonly Value[];

/** Operators by type, of one domain. */
export type OperatorTable = Readonly<Record<string, Operator>>;

/** Memory and work of one node on the host: beyond the evaluator's defaults, which are for analysis. */
export const hostLimits: EvaluationLimits = { elements: 2 ** 29, operations: Number.MAX_SAFE_INTEGER, nesting: 16 };

/** One node with its inputs, as an {@link Operator} sees it: inputs where they are wanted, and typed attributes. */
export class OperatorCall {
  readonly node: NodeProto;
  readonly inputs: readonly (Value | null)[];
  readonly context: OperatorContext;
  /** Version of the node's operator set; what is not imported counts as the newest. */
  readonly opset: number;

  constructor(node: NodeProto, inputs: readonly (Value | null)[], context: OperatorContext) {
    this.node = node;
    this.inputs = inputs;
    this.context = context;
    this.opset = context.opset.get(node.domain === "ai.onnx" ? "" : node.domain) ?? Infinity;
  }

  /** The input at `index`, wherever it is; an error if the node leaves it out. */
  input(index: number): Value {
    return this.inputs[index] ?? this.fail(`input ${index} is required and absent`);
  }

  optional(index: number): Value | null {
    return this.inputs[index] ?? null;
  }

  has(index: number): boolean {
    return this.optional(index) !== null;
  }

  /** Shape of the input at `index`. */
  dims(index: number): readonly number[] {
    return dimsOf(this.input(index));
  }

  /** The input on the device, uploaded if need be: floats as float32, integers as int32, booleans as bool. */
  device(index: number): tf.Tensor {
    return this.onDevice(this.input(index));
  }

  optionalDevice(index: number): tf.Tensor | null {
    const value = this.optional(index);
    return value === null ? null : this.onDevice(value);
  }

  /** All present inputs on the device, at least one. */
  variadic(): tf.Tensor[] {
    const present = this.inputs.filter((input) => input !== null);
    if (present.length === 0) this.fail("at least one input is required");
    return present.map((value) => this.onDevice(value));
  }

  onDevice(value: Value): tf.Tensor {
    return isDevice(value) ? value : this.context.upload(value);
  }

  /** The input on the host. One on the device is read back, synchronously and without gradient. */
  host(index: number): HostTensor {
    return this.onHost(this.input(index));
  }

  onHost(value: Value): HostTensor {
    if (!isDevice(value)) return value;
    try {
      return toHost(value);
    } catch (error) {
      return this.fail(
        `a value of the ${tf.getBackend()} backend is needed on the host, which it cannot give at once; use wasm`,
        error,
      );
    }
  }

  /** An integer input, as a list: shapes, axes, indices. `undefined` if absent. */
  integers(index: number): number[] | undefined {
    return this.has(index) ? Array.from(this.host(index).data) : undefined;
  }

  /** What older operator sets keep in the attribute `name` and newer ones in input `index`. */
  integersOr(index: number, name: string): number[] | undefined {
    return this.integers(index) ?? this.ints(name);
  }

  /** The only value of an input. */
  scalar(index: number): number {
    const { dims, data } = this.host(index);
    if (data.length !== 1) this.fail(`input ${index} must hold one value, its shape is ${shown(dims)}`);
    return data[0]!;
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

  tensor(name: string): HostTensor | undefined {
    const proto = this.attribute(name)?.t;
    return proto === undefined || proto === null ? undefined : decodeTensor(proto);
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

  /** The node's outputs computed on the host from its inputs, read back if need be: exact, without gradient. */
  evaluateOnHost(): HostTensor[] {
    const inputs = this.inputs.map((value) => (value === null ? null : this.onHost(value)));
    return evaluateNode(this.node, inputs, { opsets: this.context.opset, limits: hostLimits });
  }

  fail(found: string, cause?: unknown): never {
    throw new OperatorError(this.node, found, cause);
  }

  unsupported(reason: string): UnsupportedOperatorError {
    return new UnsupportedOperatorError(this.node, reason);
  }
}

/** A shape for messages. */
export function shown(dims: readonly number[]): string {
  return `[${dims.join(", ")}]`;
}
