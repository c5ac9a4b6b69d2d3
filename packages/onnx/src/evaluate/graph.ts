import { FavorError } from "@favor/core";
import type { AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto } from "../model/proto.ts";
import {
  defaultEvaluationLimits,
  hasInexact,
  inexact,
  OperatorCall,
  type EvaluationContext,
  type EvaluationLimits,
  type EvaluationUse,
} from "./call.ts";
import { EvaluationError, EvaluationLimitError, MissingValueError, UnsupportedOperatorError } from "./errors.ts";
import { bodiesToRun, freeNames } from "./free-names.ts";
import { findOperator } from "./registry.ts";
import { decodeTensor, type Tensor } from "./tensor.ts";

/** What {@link evaluateGraph} and {@link evaluateNode} need to know about the model around the nodes. */
export interface EvaluationOptions {
  /** Version of each operator set, by domain. A domain that is absent counts as its newest version. */
  readonly opsets: ReadonlyMap<string, number>;
  /** The initializer of that name, or undefined. */
  readonly initializer?: (name: string) => Tensor | TensorProto | undefined;
  /** The model's local functions. */
  readonly functions?: readonly FunctionProto[];
  readonly limits?: Partial<EvaluationLimits>;
  /** Operations of earlier evaluations, to which this one adds its own. Default: a separate count. */
  readonly spent?: { operations: number };
  /** What happens if a wanted value holds integers of unknown value, see {@link TensorData}. Default "refused". */
  readonly unknownIntegers?: "refused" | "returned";
}

/** Least cost of running a node, in additions, even if its inputs are small. */
const costOfNode = 64;

/** The state that scopes share: functions by key, the limits, and how much of them has been used. */
interface Evaluation {
  readonly functions: ReadonlyMap<string, FunctionProto>;
  readonly limits: EvaluationLimits;
  readonly use: EvaluationUse;
}

/** The standard domain has two names. */
const canonical = (domain: string): string => (domain === "ai.onnx" ? "" : domain);

const functionKey = (domain: string, name: string, overload: string): string =>
  `${canonical(domain)}:${name}:${overload}`;

function canonicalOpsets(opsets: ReadonlyMap<string, number>): Map<string, number> {
  return new Map([...opsets].map(([domain, version]) => [canonical(domain), version]));
}

function startEvaluation(options: EvaluationOptions): Evaluation {
  const functions = (options.functions ?? []).map((fn): [string, FunctionProto] => [
    functionKey(fn.domain, fn.name, fn.overload),
    fn,
  ]);
  return {
    functions: new Map(functions),
    limits: { ...defaultEvaluationLimits, ...options.limits },
    use: { elements: 0, operations: options.spent?.operations ?? 0 },
  };
}

/** The nodes of a graph, a body or a function, and the values known in it. */
class Scope {
  private readonly evaluation: Evaluation;
  private readonly opset: ReadonlyMap<string, number>;
  private readonly initializer: (name: string) => Tensor | TensorProto | undefined;
  private readonly functionAttributes: ReadonlyMap<string, AttributeProto>;
  private readonly outer: Scope | null;
  private readonly depth: number;
  private readonly producers = new Map<string, NodeProto>();
  /** null: an optional input that was left out. */
  private readonly values = new Map<string, Tensor | null>();

  constructor(
    evaluation: Evaluation,
    nodes: Iterable<NodeProto>,
    opset: ReadonlyMap<string, number>,
    initializer: (name: string) => Tensor | TensorProto | undefined,
    outer: Scope | null = null,
    depth: number = 0,
    functionAttributes: ReadonlyMap<string, AttributeProto> = new Map(),
  ) {
    this.evaluation = evaluation;
    this.opset = opset;
    this.initializer = initializer;
    this.outer = outer;
    this.depth = depth;
    this.functionAttributes = functionAttributes;
    for (const node of nodes) {
      for (const output of node.output) if (output !== "") this.producers.set(output, node);
    }
  }

  set(name: string, value: Tensor | null): void {
    this.values.set(name, value);
  }

  /** The value of `name` if it is known without evaluating a node, else undefined. */
  known(name: string): Tensor | null | undefined {
    const value = this.values.get(name);
    if (value !== undefined) return value;
    if (this.producers.has(name)) return undefined;
    const stored = this.initializer(name);
    if (stored === undefined) return this.outer?.known(name);
    const tensor = "data" in stored ? stored : decodeTensor(stored);
    // A body's constants are read again in every iteration.
    if (this.outer !== null) this.evaluation.use.operations += tensor.data.length;
    this.values.set(name, tensor);
    return tensor;
  }

  /** Evaluates the nodes that `wanted` depends on, each once, dependencies first. */
  demand(wanted: readonly string[]): void {
    const pending: { name: string; reader: NodeProto | null }[] = [];
    const expanded = new Set<NodeProto>();
    for (const name of wanted) pending.push({ name, reader: null });
    for (let top = pending.at(-1); top !== undefined; top = pending.at(-1)) {
      if (this.known(top.name) !== undefined) {
        pending.pop();
        continue;
      }
      const node = this.producers.get(top.name);
      if (node === undefined) throw new MissingValueError(top.name, top.reader);
      const missing = this.needs(node).filter((name) => this.known(name) === undefined);
      expanded.add(node);
      for (const name of missing) {
        const producer = this.producers.get(name);
        if (producer !== undefined && expanded.has(producer)) {
          throw new EvaluationError(node, `it depends on itself through "${name}"`);
        }
        pending.push({ name, reader: node });
      }
      if (missing.length === 0) {
        this.evaluate(node);
        expanded.delete(node);
      }
    }
  }

  /** Names that must be known before the node can run: its inputs, and what the bodies that will run take from here. */
  private needs(node: NodeProto): string[] {
    const inputs = node.input.filter((name) => name !== "");
    const bodies = bodiesToRun(node, (name) => this.known(name));
    if (bodies.length === 0) return inputs;
    // If a name does not exist here either, the error comes from its reader in the body.
    const captured = bodies.flatMap(freeNames).filter((name) => this.exists(name));
    return [...inputs, ...captured];
  }

  private exists(name: string): boolean {
    return this.producers.has(name) || this.known(name) !== undefined;
  }

  private evaluate(node: NodeProto): void {
    const inputs = node.input.map((name) => (name === "" ? null : (this.known(name) ?? null)));
    const outputs = this.run(node, inputs);
    for (const [i, name] of node.output.entries()) {
      if (name === "") continue;
      const value = outputs[i];
      if (value === undefined) throw new UnsupportedOperatorError(node, `output ${i} is not evaluated`);
      this.values.set(name, value);
    }
  }

  /** The outputs of one node for the given inputs. */
  run(node: NodeProto, inputs: readonly (Tensor | null)[]): Tensor[] {
    const call = new OperatorCall(node, inputs, this.context(node));
    call.operations(costOfNode);
    const fn = this.evaluation.functions.get(functionKey(node.domain, node.opType, node.overload));
    if (fn !== undefined) return this.runFunction(fn, call);
    const operator = findOperator(node.domain, node.opType);
    if (operator === undefined) throw new UnsupportedOperatorError(node);
    try {
      return operator(call);
    } catch (error) {
      if (FavorError.isInstance(error)) throw error;
      throw new EvaluationError(node, error instanceof Error ? error.message : String(error), error);
    }
  }

  private context(node: NodeProto): EvaluationContext {
    const { limits, use } = this.evaluation;
    return {
      opset: this.opset,
      limits,
      use,
      functionAttributes: this.functionAttributes,
      runBody: (body, inputs) => this.runBody(node, body, inputs),
    };
  }

  private deeper(node: NodeProto): number {
    const { nesting } = this.evaluation.limits;
    if (this.depth >= nesting) throw new EvaluationLimitError("nesting", nesting, this.depth + 1, node);
    return this.depth + 1;
  }

  private runBody(node: NodeProto, body: GraphProto, inputs: readonly (Tensor | null)[]): Tensor[] {
    const stored = new Map(body.initializer.map((tensor) => [tensor.name, tensor]));
    const scope = new Scope(
      this.evaluation,
      body.node,
      this.opset,
      (name) => stored.get(name),
      this,
      this.deeper(node),
      this.functionAttributes,
    );
    for (const [i, input] of body.input.entries()) scope.set(input.name, inputs[i] ?? null);
    return scope.results(
      body.output.map((output) => output.name),
      node,
    );
  }

  private runFunction(fn: FunctionProto, call: OperatorCall): Tensor[] {
    const attributes = new Map(fn.attributeProto.map((attribute) => [attribute.name, attribute]));
    for (const { name } of call.node.attribute) {
      const value = call.attribute(name);
      if (value !== undefined) attributes.set(name, value);
    }
    const opset = new Map(this.opset);
    for (const { domain, version } of fn.opsetImport) opset.set(canonical(domain), version.toNumber());
    const scope = new Scope(this.evaluation, fn.node, opset, () => undefined, null, this.deeper(call.node), attributes);
    for (const [i, name] of fn.input.entries()) scope.set(name, call.optional(i));
    const wanted = fn.output.slice(0, call.node.output.length);
    return scope.results(wanted, call.node);
  }

  /** The value of `name`, after {@link demand}. Fails on integers of unknown value if they are "refused". */
  result(name: string, unknownIntegers: EvaluationOptions["unknownIntegers"] = "refused"): Tensor {
    const tensor = this.known(name) ?? fail(name, null);
    const node = this.producers.get(name);
    if (unknownIntegers === "refused" && node !== undefined && hasInexact(tensor))
      throw new UnsupportedOperatorError(node, inexact);
    return tensor;
  }

  /** The values of `names`, evaluated; all must be present. */
  private results(names: readonly string[], reader: NodeProto): Tensor[] {
    this.demand(names);
    return names.map((name) => this.known(name) ?? fail(name, reader));
  }
}

function fail(name: string, reader: NodeProto | null): never {
  throw new MissingValueError(name, reader);
}

/**
 * The values of `wanted`, for the given values of other names. Only the nodes that they depend on are evaluated, each
 * once and in dependency order, so they may be given in any order. Nothing recurses on the depth of the graph.
 *
 * @param nodes of one graph; bodies of If, Loop and Scan see the values around them
 * @param feeds graph inputs; a value that a node produces may be fed as well, and then that node does not run
 * @returns a map with a tensor for every name in `wanted`
 * @throws UnsupportedOperatorError for an unknown operator, or an unknown form of one; also if a result depends on 64-bit
 *   integers beyond 2^53, see {@link TensorData}
 * @throws EvaluationError if a node and its inputs break the operator's specification, or the graph has a cycle
 * @throws MissingValueError if a value that is needed has no source
 * @throws EvaluationLimitError beyond `options.limits`
 */
export function evaluateGraph(
  nodes: Iterable<NodeProto>,
  wanted: readonly string[],
  feeds: ReadonlyMap<string, Tensor>,
  options: EvaluationOptions,
): Map<string, Tensor> {
  const evaluation = startEvaluation(options);
  const scope = new Scope(evaluation, nodes, canonicalOpsets(options.opsets), options.initializer ?? (() => undefined));
  for (const [name, tensor] of feeds) scope.set(name, tensor);
  try {
    scope.demand(wanted);
  } finally {
    if (options.spent) options.spent.operations = evaluation.use.operations;
  }
  return new Map(wanted.map((name) => [name, scope.result(name, options.unknownIntegers)]));
}

/**
 * The outputs of one node, in the order of `node.output`.
 *
 * @param inputs in the order of `node.input`; null for an optional one that is left out
 * @throws as {@link evaluateGraph}
 */
export function evaluateNode(
  node: NodeProto,
  inputs: readonly (Tensor | null)[],
  options: EvaluationOptions,
): Tensor[] {
  const evaluation = startEvaluation(options);
  const scope = new Scope(evaluation, [], canonicalOpsets(options.opsets), options.initializer ?? (() => undefined));
  try {
    return scope.run(node, inputs);
  } finally {
    if (options.spent) options.spent.operations = evaluation.use.operations;
  }
}
