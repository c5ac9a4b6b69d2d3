import { FavorError } from "@favor/core";
import { evaluateNode, MissingValueError, UnsupportedOperatorError as NotEvaluated } from "@favor/onnx/evaluate";
import { type FunctionProto, type GraphProto, type NodeProto } from "@favor/onnx";
import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import { OperatorError, UnsupportedOperatorError } from "../errors.ts";
import { hostLimits, OperatorCall, type DetachedBody, type Operator } from "../operator-call.ts";
import { findOperator, supportedOperators } from "../operators/registry.ts";
import { isDevice, type Value } from "../value.ts";
import { bodies, valuesRead } from "@favor/onnx/graph";
import type { Plan } from "./plan.ts";
import { Run } from "./run.ts";

/** Bodies and functions in each other, beyond which a model is not an honest one. */
const deepest = 64;

/** One execution of the nodes of a graph, a body or a function, and the values in it. */
export class Frame {
  readonly #run: Run;
  readonly #plan: Plan;
  readonly #opset: ReadonlyMap<string, number>;
  readonly #stored: (name: string) => Value | undefined;
  readonly #outer: Frame | null;
  readonly #depth: number;
  readonly #values = new Map<string, Value | null>();
  readonly #given = new Set<string>();

  /** @param stored the initializers of the graph */
  constructor(
    run: Run,
    plan: Plan,
    opset: ReadonlyMap<string, number>,
    stored: (name: string) => Value | undefined,
    outer: Frame | null = null,
    depth: number = 0,
  ) {
    this.#run = run;
    this.#plan = plan;
    this.#opset = opset;
    this.#stored = stored;
    this.#outer = outer;
    this.#depth = depth;
  }

  /** Gives a value from outside: an input (null: left out), or any value in place of its producer's. */
  give(name: string, value: Value | null): void {
    if (name === "") return;
    this.#run.hold(value);
    this.#values.set(name, value);
    this.#given.add(name);
  }

  /** The values of `wanted`, which the caller then owns. */
  execute(wanted: readonly string[], reader: NodeProto | null = null): Value[] {
    for (const { node, release } of this.#plan.steps(wanted, this.#given)) {
      this.#execute(node);
      for (const name of release) this.#release(name, true);
    }
    const results = wanted.map((name) => this.#read(name, reader) ?? missing(name, reader));
    for (const name of this.#values.keys()) this.#release(name, false);
    return results;
  }

  #release(name: string, free: boolean): void {
    this.#run.release(this.#values.get(name) ?? null, free);
    this.#values.delete(name);
  }

  /** null: an optional value that was left out. */
  #read(name: string, reader: NodeProto | null): Value | null {
    const found = this.#find(name);
    return found === undefined ? missing(name, reader) : found;
  }

  #find(name: string): Value | null | undefined {
    const value = this.#values.get(name);
    if (value !== undefined) return value;
    const stored = this.#stored(name);
    if (stored === undefined) return this.#outer === null ? undefined : this.#outer.#find(name);
    this.#run.pin(stored);
    if (!(stored instanceof tf.Variable)) this.#run.addConstant(stored);
    return stored;
  }

  #execute(node: NodeProto): void {
    const { folded, initializers } = this.#run.program;
    const folds = this.#depth === 0 && this.#run.folds;
    if (folds && node.output.every((name) => name === "" || folded.has(name))) {
      for (const name of node.output) if (name !== "") this.#set(name, folded.get(name)!);
      return;
    }
    const inputs = node.input.map((name) => (name === "" ? null : this.#read(name, node)));
    const { constant, outputs } = this.#computed(node, inputs);
    const fold = folds && isFoldable(node, inputs, (value) => initializers.isConstant(value));
    for (const [i, name] of node.output.entries()) {
      if (name === "") continue;
      const value = outputs[i];
      if (value === undefined) {
        throw new UnsupportedOperatorError(node, `its output ${i} is not computed`, supportedOperators());
      }
      if (fold && !isDevice(value)) {
        folded.set(name, value);
        initializers.addConstant(value);
      }
      if (constant) this.#run.addConstant(value);
      this.#set(name, value);
    }
  }

  /** The outputs, and whether no gradient reaches them: then a tape need not know of them. */
  #computed(
    node: NodeProto,
    inputs: readonly (Value | null)[],
  ): { readonly constant: boolean; readonly outputs: readonly Value[] } {
    const constant =
      bodies(node).length === 0 &&
      this.#run.program.calledFunction(node) === undefined &&
      inputs.every((value) => this.#run.isConstant(value));
    let outputs: readonly Value[] = [];
    const compute = (): void => {
      outputs = this.#outputs(node, inputs);
    };
    if (constant) detached(compute);
    else compute();
    return { constant, outputs };
  }

  #set(name: string, value: Value): void {
    const intercept = this.#depth === 0 ? this.#run.intercept.get(name) : undefined;
    const seen = intercept === undefined ? value : intercept(isDevice(value) ? value : this.#run.upload(value));
    this.#run.hold(seen);
    this.#values.set(name, seen);
  }

  #outputs(node: NodeProto, inputs: readonly (Value | null)[]): readonly Value[] {
    const fn = this.#run.program.calledFunction(node);
    if (fn !== undefined) return this.#call(fn, node, inputs);
    const operator = findOperator(node.domain, node.opType);
    const onHost = bodies(node).length === 0 && inputs.every((value) => value === null || !isDevice(value));
    try {
      if (!onHost) return this.#onDevice(operator ?? unknown(node), node, inputs);
      try {
        return evaluateNode(node, inputs as Parameters<typeof evaluateNode>[1], {
          opsets: this.#opset,
          limits: hostLimits,
        });
      } catch (error) {
        if (error instanceof NotEvaluated) return this.#onDevice(operator ?? unknown(node, error), node, inputs);
        throw error;
      }
    } catch (error) {
      // An operator that computes on the host met what the evaluator does not know.
      if (error instanceof NotEvaluated) return unknown(node, error);
      if (FavorError.isInstance(error)) throw error;
      throw new OperatorError(node, error instanceof Error ? error.message : String(error), error);
    }
  }

  #onDevice(operator: Operator, node: NodeProto, inputs: readonly (Value | null)[]): readonly Value[] {
    const call = new OperatorCall(node, inputs, {
      opset: this.#opset,
      runBody: (body, values) => this.#body(node, body, values),
      detachBody: (body) => this.#detachedBody(node, body),
      upload: this.#run.upload,
    });
    let outputs: readonly Value[] = [];
    tf.tidy(() => {
      outputs = operator(call);
      return outputs.filter(isDevice);
    });
    return outputs;
  }

  #body(node: NodeProto, body: GraphProto, inputs: readonly (Value | null)[]): Value[] {
    const { program } = this.#run;
    const stored = this.#storedIn(body);
    const frame = new Frame(this.#run, program.planOf(body), this.#opset, stored, this, this.#deeper(node));
    for (const [i, { name }] of body.input.entries()) frame.give(name, inputs[i] ?? null);
    return frame.execute(
      body.output.map(({ name }) => name),
      node,
    );
  }

  #storedIn(body: GraphProto): (name: string) => Value | undefined {
    const { initializers } = this.#run.program;
    const own = new Map(body.initializer.map((tensor) => [tensor.name, tensor]));
    return (name) => (own.has(name) ? initializers.constant(own.get(name)!) : undefined);
  }

  #detachedBody(node: NodeProto, body: GraphProto): DetachedBody {
    const { program } = this.#run;
    const [opset, depth, stored] = [this.#opset, this.#deeper(node), this.#storedIn(body)];
    const names = [...valuesRead({ ...node, input: [] })];
    return {
      captured: new Map(names.map((name) => [name, this.#read(name, node)])),
      isConstant: (value) => this.#run.isConstant(value),
      run(values, wanted) {
        const run = new Run(program, [], new Map());
        try {
          const frame = new Frame(run, program.planOf(body), opset, stored, null, depth);
          for (const [name, value] of values) {
            if (value !== null) run.pin(value);
            frame.give(name, value);
          }
          return frame.execute(wanted, node);
        } finally {
          run.end();
        }
      },
    };
  }

  #call(fn: FunctionProto, node: NodeProto, inputs: readonly (Value | null)[]): Value[] {
    const opset = new Map(this.#opset);
    for (const { domain, version } of fn.opsetImport) {
      opset.set(domain === "ai.onnx" ? "" : domain, version.toNumber());
    }
    const plan = this.#run.program.planOfCall(node, fn);
    const frame = new Frame(this.#run, plan, opset, () => undefined, null, this.#deeper(node));
    for (const [i, name] of fn.input.entries()) frame.give(name, inputs[i] ?? null);
    return frame.execute(fn.output.slice(0, node.output.length), node);
  }

  #deeper(node: NodeProto): number {
    if (this.#depth >= deepest) throw new OperatorError(node, `it is nested more than ${deepest} deep`);
    return this.#depth + 1;
  }
}

function missing(name: string, reader: NodeProto | null): never {
  throw new MissingValueError(name, reader);
}

function unknown(node: NodeProto, cause?: FavorError): never {
  const reason = cause?.details["reason"];
  const found = typeof reason === "string" ? `${reason}, and it does not run on tfjs` : "it does not run on tfjs";
  throw new UnsupportedOperatorError(node, found, supportedOperators());
}

/** Whether a node gives the same in every run: it has no body, draws nothing, and reads constants alone. */
function isFoldable(
  node: NodeProto,
  inputs: readonly (Value | null)[],
  isConstant: (value: Extract<Value, { dataType: number }>) => boolean,
): boolean {
  if (/^(Random|Multinomial|Bernoulli|Dropout)/.test(node.opType) || bodies(node).length > 0) return false;
  return inputs.every((value) => value === null || (!isDevice(value) && isConstant(value)));
}
