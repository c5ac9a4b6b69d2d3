import type { FunctionProto, GraphProto, NodeProto } from "@favor/onnx";
import type { Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { isDevice, toDevice, type Value } from "../value.ts";
import type { Initializers } from "../weights/initializers.ts";
import { resolveFunction } from "./functions.ts";
import { Plan } from "./plan.ts";

/** What a model keeps from one run to the next. */
export class Program {
  readonly initializers: Initializers;
  readonly opset: ReadonlyMap<string, number>;
  /** Values of the main graph that depend on no feed and no variable, as far as a run has come to them. */
  readonly folded: Map<string, HostTensor> = new Map();
  readonly #functions: ReadonlyMap<string, FunctionProto>;
  readonly #plans = new WeakMap<GraphProto | NodeProto, Plan>();

  constructor(initializers: Initializers, opset: ReadonlyMap<string, number>, functions: readonly FunctionProto[]) {
    this.initializers = initializers;
    this.opset = opset;
    this.#functions = new Map(functions.map((fn) => [functionKey(fn.domain, fn.name, fn.overload), fn]));
  }

  isConstant(name: string): boolean {
    return this.folded.has(name) || this.initializers.has(name);
  }

  /** The local function that a node calls, if it does. */
  calledFunction(node: NodeProto): FunctionProto | undefined {
    return this.#functions.get(functionKey(node.domain, node.opType, node.overload));
  }

  /** The plan of a graph or body. */
  planOf(graph: GraphProto): Plan {
    return this.#plan(graph, () => graph.node);
  }

  /** The plan of a function, with the attributes of the node that calls it. */
  planOfCall(node: NodeProto, fn: FunctionProto): Plan {
    return this.#plan(node, () => resolveFunction(fn, node));
  }

  #plan(key: GraphProto | NodeProto, nodes: () => readonly NodeProto[]): Plan {
    let plan = this.#plans.get(key);
    if (plan === undefined) this.#plans.set(key, (plan = new Plan(nodes())));
    return plan;
  }
}

function functionKey(domain: string, name: string, overload: string): string {
  return `${domain === "ai.onnx" ? "" : domain}:${name}:${overload}`;
}

/** The device memory of one run: who holds which tensor, and what was uploaded. */
export class Run {
  readonly program: Program;
  readonly intercept: ReadonlyMap<string, (value: tf.Tensor) => tf.Tensor>;
  /** Tensors that nodes made: how many names hold each. */
  readonly #holds = new Map<tf.Tensor, number>();
  /** Feeds, variables, constants, uploads: not for nodes to free. */
  readonly #pinned = new WeakSet<tf.Tensor>();
  readonly #uploads = new Map<HostTensor, tf.Tensor>();
  /** Tensors that depend on no variable and on no tensor that was fed. */
  readonly #constants = new WeakSet<tf.Tensor>();

  /** Whether values that depend on constants alone are taken from earlier runs: no constant is replaced in this one. */
  readonly folds: boolean;

  constructor(
    program: Program,
    fed: readonly string[],
    intercept: ReadonlyMap<string, (value: tf.Tensor) => tf.Tensor>,
  ) {
    this.program = program;
    this.intercept = intercept;
    this.folds = [...fed, ...intercept.keys()].every((name) => !program.isConstant(name));
  }

  pin(value: Value): void {
    if (isDevice(value)) this.#pinned.add(value);
  }

  isPinned(tensor: tf.Tensor): boolean {
    return this.#pinned.has(tensor);
  }

  /** Whether no gradient reaches a value: it depends on no variable, and on no tensor that was fed. */
  isConstant(value: Value | null): boolean {
    return value === null || !isDevice(value) || this.#constants.has(value);
  }

  addConstant(value: Value): void {
    if (isDevice(value)) this.#constants.add(value);
  }

  hold(value: Value | null): void {
    if (value === null || !isDevice(value) || this.#pinned.has(value)) return;
    this.#holds.set(value, (this.#holds.get(value) ?? 0) + 1);
  }

  /** One name less holds the value; `free`: a tensor that no name holds is disposed of. */
  release(value: Value | null, free: boolean): void {
    if (value === null || !isDevice(value)) return;
    const holds = this.#holds.get(value);
    if (holds === undefined) return;
    if (holds > 1) {
      this.#holds.set(value, holds - 1);
      return;
    }
    this.#holds.delete(value);
    // Also under a gradient tape: what the backward pass needs, the tape holds by tensors of its own.
    if (free) value.dispose();
  }

  readonly upload = (tensor: HostTensor): tf.Tensor => {
    const { initializers } = this.program;
    if (initializers.isConstant(tensor)) {
      const constant = initializers.upload(tensor);
      this.#pinned.add(constant);
      this.#constants.add(constant);
      return constant;
    }
    let uploaded = this.#uploads.get(tensor);
    if (uploaded === undefined) {
      // Kept: the node that asks runs in a scope of its own.
      uploaded = tf.keep(toDevice(tensor));
      this.#uploads.set(tensor, uploaded);
      this.#pinned.add(uploaded);
      this.#constants.add(uploaded);
    }
    return uploaded;
  };

  /** Frees what was uploaded for this run. */
  end(): void {
    for (const tensor of this.#uploads.values()) tensor.dispose();
    this.#uploads.clear();
  }
}
