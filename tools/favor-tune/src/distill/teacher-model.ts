import { createMessage } from "@favor/onnx";
import type { ModelProto, NodeProto, OperatorSetIdProto, TensorProto } from "@favor/onnx";
import { valuesRead } from "@favor/onnx/graph";

import type { ComparedModel, Difference } from "./differing-sites.ts";
import { DistillError } from "./errors.ts";

/** The original model that also computes what students need, and nothing else. */
export interface TeacherModel {
  readonly model: ModelProto;
  /** By site and then by the student's operand, the output that holds it. */
  readonly operands: readonly ReadonlyMap<string, string>[];
  /** By site, the output that holds the attention's output. */
  readonly targets: readonly string[];
}

/**
 * One model for onnxruntime: the original, the frozen part of each student (projections with the calibration folded in,
 * key norms) copied into it under names of its own, and as outputs the students' operands and targets. Each student
 * so gets the original's own activations, whatever the students before it do. What no output needs is left out: the
 * head, as a rule.
 *
 * @throws {DistillError} `inputs-differ`, `opset-differs`, `operand-in-body`.
 */
export function teacherModel(difference: Difference): TeacherModel {
  const { original, converted, sites } = difference;
  requireSameInputs(original, converted);
  const opsetImport = unitedOpsets(original.model.opsetImport, converted.model.opsetImport);
  const frozen = new FrozenPart(difference);
  const operands = sites.map((site) => new Map(site.operands.map((value) => [value, frozen.output(value)])));
  const targets = sites.map(({ output }) => output);
  const { graph } = original.model;
  const nodes = [...graph.node, ...frozen.nodes];
  const outputs = new Set([...targets, ...operands.flatMap((values) => [...values.values()])]);
  const needed = neededFor(outputs, nodes);
  const model: ModelProto = {
    ...original.model,
    opsetImport,
    graph: {
      ...graph,
      node: nodes.filter((node) => node.output.some((value) => needed.has(value))),
      // Old exports list weights among the inputs as well: then they would be asked for.
      input: graph.input.filter(({ name }) => needed.has(name) && original.graph.initializer(name) === undefined),
      initializer: [...graph.initializer, ...frozen.initializers].filter(({ name }) => needed.has(name)),
      // Types are left to onnxruntime to infer.
      output: [...outputs].map((name) => createMessage("ValueInfoProto", { name })),
      valueInfo: [],
    },
  };
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
          `version ${entry.version}: they do not fit into one teacher. Convert without --target onnx27.`,
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

/** Values of the converted graph that no feature map reaches, computed within the original's graph. */
class FrozenPart {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  readonly #difference: Difference;
  /** By value of the converted graph, the value of the teacher. */
  readonly #values = new Map<string, string>();

  constructor(difference: Difference) {
    this.#difference = difference;
  }

  /** The name of a teacher's output that holds the converted graph's value. */
  output(value: string): string {
    const name = this.#valueOf(value);
    // Graph inputs cannot be outputs as well.
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
    if ([...valuesRead(node)].some((value) => !node.input.includes(value))) {
      throw new DistillError(
        `The ${node.opType} node "${node.name}" of the converted model reads values inside its body: the features that ` +
          `depend on it cannot be distilled. Leave that layer softmax (favor-convert --keep).`,
        { code: "operand-in-body", details: { node: node.name } },
      );
    }
    const input = node.input.map((value) => (value === "" ? "" : this.#valueOf(value)));
    const output = node.output.map((value) => (value === "" ? "" : fresh(value)));
    for (const [at, value] of node.output.entries()) this.#values.set(value, output[at]!);
    this.nodes.push({ ...node, name: fresh(node.name), input, output });
  }
}

/** A name that no value of the original has: exporters do not write this prefix. */
function fresh(name: string): string {
  return `favor_distill/${name}`;
}

/** The values that the outputs depend on, these included. */
function neededFor(outputs: ReadonlySet<string>, nodes: readonly NodeProto[]): Set<string> {
  const producers = new Map(nodes.flatMap((node) => node.output.map((output) => [output, node] as const)));
  const needed = new Set(outputs);
  // The set grows while it is walked.
  for (const value of needed) {
    const node = producers.get(value);
    if (node !== undefined) for (const read of valuesRead(node)) needed.add(read);
  }
  return needed;
}
