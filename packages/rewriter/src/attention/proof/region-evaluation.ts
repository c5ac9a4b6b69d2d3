import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { EvaluationLimitError } from "@favor/onnx/evaluate";
import { evaluateGraph } from "@favor/onnx/evaluate";
import { DataType, type NodeProto } from "@favor/onnx";
import { valuesRead } from "@favor/onnx/graph";
import { ancestors } from "@favor/onnx/graph";
import { countSteps, type AttentionContext } from "../context.ts";
import { type GraphProbe } from "@favor/onnx/graph";
import { relabel } from "./layout.ts";
import { probedLogits } from "./probed-logits.ts";
import type { Region, RegionLabels } from "../wiring/region.ts";
import type { LawShape, Probabilities } from "./softmax-law.ts";

/** The values that a region reads from outside, besides the logits: masks and biases, with the nodes that make them. */
export interface RegionInputs {
  readonly values: readonly string[];
  readonly nodes: ReadonlySet<NodeProto>;
  /** The values, and all that the nodes read. */
  readonly read: ReadonlySet<string>;
}

/** The nodes are found when first asked for, because most regions never need them. */
export function regionInputs(context: AttentionContext, region: Region, probe: GraphProbe): RegionInputs {
  const made = new Set([region.logits.output.value, ...region.nodes.flatMap((node) => node.output)]);
  const values = [...new Set(region.nodes.flatMap((node) => node.input))].filter((v) => v !== "" && !made.has(v));
  let nodes: ReadonlySet<NodeProto> | undefined;
  let read: ReadonlySet<string> | undefined;
  const isKnown = (value: string): boolean => probe.info.get(value)?.value !== undefined;
  return {
    values,
    get nodes(): ReadonlySet<NodeProto> {
      if (nodes === undefined) {
        nodes = ancestors(context.graph, values, isKnown);
        countSteps(context, nodes.size);
      }
      return nodes;
    },
    get read(): ReadonlySet<string> {
      return (read ??= allRead(values, this.nodes));
    },
  };
}

/** Values, and all that nodes read to make them. */
export function allRead(values: Iterable<string>, nodes: Iterable<NodeProto>): Set<string> {
  const read = new Set(values);
  for (const node of nodes) for (const value of valuesRead(node)) read.add(value);
  return read;
}

/** Evaluates one region at the sizes of one probe. */
export class RegionEvaluation {
  readonly shape: LawShape;
  readonly #context: AttentionContext;
  readonly #region: Region;
  readonly #inputs: RegionInputs;
  readonly #labels: RegionLabels;
  readonly #probe: GraphProbe;
  readonly #logitsDims: readonly number[];
  /** Operations that the last evaluation took: the next takes as many. */
  #cost = 0;

  /** @throws EvaluationLimitError if the logits are too large to evaluate at the probe's sizes */
  constructor(
    context: AttentionContext,
    region: Region,
    inputs: RegionInputs,
    labels: RegionLabels,
    probe: GraphProbe,
  ) {
    this.#context = context;
    this.#region = region;
    this.#inputs = inputs;
    this.#labels = labels;
    this.#probe = probe;
    this.#logitsDims = probedLogits(region, inputs.values, labels, probe);
    const size = (label: string): number => this.#logitsDims[labels.logits.labels.indexOf(label)]!;
    this.shape = {
      groups: [...labels.logits.batch].reduce((product, label) => product * size(label), 1),
      queries: size(labels.logits.query),
      keys: size(labels.logits.key),
    };
  }

  /** Names of all that the region's outer values are made of: inputs among them are fed. */
  get read(): ReadonlySet<string> {
    return this.#inputs.read;
  }

  /** The values that the region reads, and those on the way to them, when the graph is fed `feeds`. */
  context(feeds: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
    const { values, nodes, read } = this.#inputs;
    const wanted = [...values, ...[...nodes].flatMap((node) => node.output.filter((name) => name !== ""))];
    const known = new Map(feeds);
    for (const value of new Set([...wanted, ...read])) {
      const constant = this.#probe.info.get(value)?.value;
      if (constant !== undefined && !known.has(value)) known.set(value, finite(constant));
    }
    const missing = wanted.filter((value) => !known.has(value));
    const made = this.#evaluate([...nodes], missing, new Map([...known, ...this.#typesOnly(nodes, known)]));
    return new Map([...known, ...made]);
  }

  /** Where a node takes the type of a value and nothing else, an empty tensor of that type does. */
  #typesOnly(nodes: ReadonlySet<NodeProto>, known: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
    const types = new Map<string, Tensor>();
    for (const node of nodes) {
      const like = node.opType === "CastLike" ? (node.input[1] ?? "") : "";
      const shape = this.#probe.info.get(like);
      const isMade = this.#context.graph.owner(like)?.producer(like);
      if (shape === undefined || known.has(like) || (isMade && nodes.has(isMade))) continue;
      types.set(like, tensorOf(shape.dataType, [0], []));
    }
    return types;
  }

  /**
   * Probabilities [groups, queries, keys] for logits of the same layout, given what {@link context} returned.
   *
   * @throws EvaluationLimitError before it begins if it will take more operations than are left
   */
  probabilities(logits: Float64Array, context: ReadonlyMap<string, Tensor>): Probabilities {
    const { spent } = this.#context;
    const before = spent.operations;
    if (before + this.#cost > spent.most) {
      throw new EvaluationLimitError("operations", spent.most, before + this.#cost, this.#region.logits.node);
    }
    const { logits: from, probabilities: to } = this.#labels;
    const canonical = from.batch + from.query + from.key;
    const sizes = [...canonical].map((label) => this.#logitsDims[from.labels.indexOf(label)]!);
    const arranged = relabel(logits, sizes, canonical, from.labels);
    const dataType = this.#probe.info.get(this.#region.logits.output.value)!.dataType;
    const known = new Map(context);
    known.set(this.#region.logits.output.value, tensorOf(dataType, arranged.dims, arranged.data));
    // Shapes of the logits and of what is made from them are known and need no computing.
    for (const node of this.#region.nodes) {
      for (const value of valuesRead(node)) {
        const constant = this.#probe.info.get(value)?.value;
        if (constant !== undefined && !known.has(value)) known.set(value, constant);
      }
    }
    const wanted = this.#region.probabilities.value;
    const found = this.#evaluate(this.#region.nodes, [wanted], known).get(wanted)!;
    this.#cost = spent.operations - before;
    return relabel(found.data, found.dims, to.labels, to.batch + to.query + to.key).data;
  }

  #evaluate(nodes: readonly NodeProto[], wanted: string[], feeds: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
    if (wanted.length === 0) return new Map();
    const { graph, spent } = this.#context;
    return evaluateGraph(nodes, wanted, feeds, {
      opsets: graph.opsets,
      initializer: (name) => graph.initializer(name),
      limits: { operations: spent.most },
      spent,
      // Position buckets are logarithms of distances, -Infinity at 0, which nothing on the way to the mask keeps.
      unknownIntegers: "returned",
    });
  }
}

/**
 * float32's lowest number is no bfloat16: exporters that write it into such a mask get -Infinity, and 0 times that is
 * NaN. What was meant is the lowest bfloat16, and that is what the mask is proved with.
 */
export function finite(constant: Tensor): Tensor {
  if (constant.dataType !== DataType.BFLOAT16 || constant.data.every(Number.isFinite)) return constant;
  const largest = 3.3895313892515355e38;
  return tensorOf(
    constant.dataType,
    constant.dims,
    Array.from(constant.data, (v) => Math.min(Math.max(v, -largest), largest)),
  );
}

/** Weights without a proof of the law: the probabilities at logits of zero, relative to the largest of the row. */
export function uniformWeights(evaluation: RegionEvaluation, values: ReadonlyMap<string, Tensor>): Float64Array {
  const { groups, queries, keys } = evaluation.shape;
  const weights = evaluation.probabilities(new Float64Array(groups * queries * keys), values);
  for (let at = 0; at < weights.length; at += keys) {
    const row = weights.subarray(at, at + keys);
    const largest = row.reduce((a, b) => Math.max(a, b), 0);
    row.forEach((weight, k) => (row[k] = largest > 0 ? weight / largest : Number.NaN));
  }
  return weights;
}
