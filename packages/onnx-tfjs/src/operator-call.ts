import { decodeTensor, evaluateNode, type EvaluationLimits, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import { type GraphProto, type NodeProto } from "@favor/onnx";
import { NodeCall, shown } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { OperatorError, UnsupportedOperatorError } from "./errors.ts";
import { dimsOf, isDevice, toHost, type Value } from "./value.ts";

export { shown };

/** What an operator may use besides its node and inputs. */
export interface OperatorContext {
  /** Version of each operator set, by domain; the standard one is "". */
  readonly opset: ReadonlyMap<string, number>;
  /** Runs the body of an If, Loop or Scan: values for its inputs in, one value for each of its outputs out. */
  readonly runBody: (body: GraphProto, inputs: readonly (Value | null)[]) => Value[];
  /** A body that can run again when the frame around it is gone, as a backward pass must. */
  readonly detachBody: (body: GraphProto) => DetachedBody;
  /** The tensor on the device; the run owns it, and uploads no tensor twice. */
  readonly upload: (tensor: HostTensor) => tf.Tensor;
}

/** A body apart from the frame around it. */
export interface DetachedBody {
  /** What it reads from outside, by name; null: an optional value that was left out. */
  readonly captured: ReadonlyMap<string, Value | null>;
  /** Whether no gradient reaches a value from around it. */
  readonly isConstant: (value: Value) => boolean;
  /**
   * Computes some of its values. All that it reads has to be given: its inputs, and what it captures. A value that one of
   * its nodes computes may be given as well.
   */
  readonly run: (values: ReadonlyMap<string, Value | null>, wanted: readonly string[]) => Value[];
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
export class OperatorCall extends NodeCall<Value> {
  readonly context: OperatorContext;

  constructor(node: NodeProto, inputs: readonly (Value | null)[], context: OperatorContext) {
    super(node, inputs, context.opset);
    this.context = context;
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
    return this.present().map((value) => this.onDevice(value));
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

  /** The only value of an input. */
  scalar(index: number): number {
    const { dims, data } = this.host(index);
    if (data.length !== 1) this.fail(`input ${index} must hold one value, its shape is ${shown(dims)}`);
    return data[0]!;
  }

  tensor(name: string): HostTensor | undefined {
    const proto = this.attribute(name)?.t;
    return proto === undefined || proto === null ? undefined : decodeTensor(proto);
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
