import { createMessage } from "@favor/onnx";
import type { GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto } from "@favor/onnx";
import { bodies, valuesRead } from "@favor/onnx/graph";

import { modelOf } from "../model/model-of.ts";
import type { ComparedModel, Difference } from "./differing-sites.ts";
import { DistillError } from "./errors.ts";

/** The original model, reduced to the inputs and targets of the students. */
export interface TeacherModel {
  readonly model: ModelProto;
  /** For each site, the output with each operand of its student. */
  readonly operands: readonly ReadonlyMap<string, string>[];
  /** For each site, the output with the attention's output. */
  readonly targets: readonly string[];
}

/**
 * Builds one model for onnxruntime. It is the original plus a copy of the frozen part of each student (projections with
 * folded calibration, key norms), and its outputs are the students' operands and targets. Each student therefore gets
 * the original's activations, independent of earlier students. Nodes that no output needs, such as the head, are
 * left out.
 *
 * @throws {DistillError} `inputs-differ`, `opset-differs`.
 */
export function teacherModel(difference: Difference): TeacherModel {
  const { original, converted, sites } = difference;
  requireSameInputs(original, converted);
  const opsetImport = unitedOpsets(original.model.opsetImport, converted.model.opsetImport);
  const frozen = new FrozenPart(difference);
  const operands = sites.map((site) => new Map(site.operands.map((value) => [value, frozen.output(value)])));
  const targets = sites.map(({ output }) => output);
  const outputs = new Set([...targets, ...operands.flatMap((values) => [...values.values()])]);
  const model = modelOf([...outputs], { ...original, model: { ...original.model, opsetImport } }, frozen);
  return { model, operands, targets };
}

function requireSameInputs(original: ComparedModel, converted: ComparedModel): void {
  const known = new Set(original.model.graph.input.map(({ name }) => name));
  const added = converted.model.graph.input.map(({ name }) => name).filter((name) => !known.has(name));
  if (added.length === 0) return;
  throw new DistillError(
    `The converted model has inputs that its original does not have: ${added.join(", ")}. A model that carries its ` +
      `state cannot be distilled. Distil a conversion without --stateful.`,
    { code: "inputs-differ", details: { inputs: added } },
  );
}

function unitedOpsets(
  original: readonly OperatorSetIdProto[],
  converted: readonly OperatorSetIdProto[],
): OperatorSetIdProto[] {
  const added = converted.filter((entry) => {
    const same = original.find((other) => domainOf(other) === domainOf(entry));
    if (same !== undefined && same.version.toNumber() !== entry.version.toNumber()) {
      throw new DistillError(
        `The original uses version ${same.version} of the operators of "${domainOf(entry)}", the converted model ` +
          `version ${entry.version}: they do not fit into one model. Convert without --target onnx27.`,
        { code: "opset-differs", details: { domain: domainOf(entry) } },
      );
    }
    return same === undefined;
  });
  return [...original, ...added];
}

function domainOf({ domain }: OperatorSetIdProto): string {
  return domain === "ai.onnx" ? "" : domain;
}

/** The part of the converted graph that does not depend on feature maps, computed in the original's graph. */
class FrozenPart {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #difference: Difference;
  /** Values of the teacher, by value of the converted graph. */
  readonly #values = new Map<string, string>();

  constructor(difference: Difference) {
    this.#difference = difference;
  }

  /** The name of the teacher's output with the converted graph's value. */
  output(value: string): string {
    const name = this.#valueOf(value);
    // A graph input cannot also be an output.
    if (!this.#difference.original.model.graph.input.some((input) => input.name === name)) return name;
    const copy = fresh(`${name}/value`);
    if (!this.nodes.some((node) => node.output.includes(copy))) {
      this.nodes.push(createMessage("NodeProto", { name: copy, opType: "Identity", input: [name], output: [copy] }));
    }
    return copy;
  }

  #valueOf(value: string): string {
    const known = this.#values.get(value) ?? this.#difference.same(value);
    if (known !== undefined) return known;
    const { graph } = this.#difference.converted;
    const producer = graph.producer(value);
    if (producer === undefined) {
      this.#values.set(value, fresh(value));
      this.initializers.push({ ...graph.initializer(value)!, name: fresh(value) });
    } else {
      this.#copy(producer);
    }
    return this.#values.get(value)!;
  }

  #copy(node: NodeProto): void {
    const names = new Map([...valuesRead(node)].map((value) => [value, this.#valueOf(value)]));
    const input = node.input.map((value) => (value === "" ? "" : names.get(value)!));
    const output = node.output.map((value) => (value === "" ? "" : fresh(value)));
    for (const [at, value] of node.output.entries()) this.#values.set(value, output[at]!);
    this.nodes.push({ ...withCaptured(node, names), name: fresh(node.name), input, output });
  }
}

/**
 * A node whose bodies read other values from around it. All that the bodies compute gets names of its own, because a name in
 * a body must not be one of the graph around it.
 */
function withCaptured(node: NodeProto, outer: ReadonlyMap<string, string>): NodeProto {
  if (bodies(node).length === 0) return node;
  const attribute = node.attribute.map((each) => ({
    ...each,
    g: each.g && renamed(each.g, outer),
    graphs: each.graphs.map((graph) => renamed(graph, outer)),
  }));
  return { ...node, attribute };
}

function renamed(graph: GraphProto, outer: ReadonlyMap<string, string>): GraphProto {
  const own = [...graph.input, ...graph.initializer].map(({ name }) => name);
  const made = graph.node.flatMap(({ output }) => output.filter((name) => name !== ""));
  const names = new Map([...outer, ...[...own, ...made].map((name) => [name, fresh(name)] as const)]);
  const of = (name: string): string => names.get(name) ?? name;
  return {
    ...graph,
    node: graph.node.map((node) => ({
      ...withCaptured(node, names),
      name: fresh(node.name),
      input: node.input.map(of),
      output: node.output.map(of),
    })),
    input: graph.input.map((value) => ({ ...value, name: of(value.name) })),
    initializer: graph.initializer.map((tensor) => ({ ...tensor, name: of(tensor.name) })),
    output: graph.output.map((value) => ({ ...value, name: of(value.name) })),
    valueInfo: graph.valueInfo.map((value) => ({ ...value, name: of(value.name) })),
  };
}

/** A name that the original does not use: exporters do not write this prefix. */
function fresh(name: string): string {
  return `favor_distill/${name}`;
}
