import Long from "long";
import { GraphError } from "@favor/onnx/graph";
import type { Graph } from "@favor/onnx/graph";
import { describeNode, intAttribute, intsAttribute, isStandard, nestedGraphs } from "@favor/onnx/graph";
import { AttributeType, DataType, type ModelProto, type NodeProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { makeTensor } from "@favor/onnx";

/** The operator set that has LinearAttention, and the IR version that came with it. */
const wanted = { opset: 27, ir: 13 };
/** Older sets differ in too much: bounds of Slice, Pad and Clip are attributes, and there is Upsample. */
const oldest = 11;

/** Operators whose meaning changed under the same name and attributes, and the first set with the present meaning. */
const changedMeaning: Readonly<Record<string, number>> = {
  DFT: 20,
  GridSample: 20,
  GroupNormalization: 21,
  RoiAlign: 16,
};

/**
 * Raises a model's standard operator set to 27, for LinearAttention. Nodes whose form changed since are rewritten: axes
 * of Squeeze, Unsqueeze and reductions from attribute to input, sizes and number of outputs of Split, the axis of
 * Softmax, the ratio of Dropout. A model of 27 or later stays as it is.
 *
 * @param graph the main graph of `model`
 * @param rankOf the rank of a value, where it is known
 * @throws GraphError "cannot-raise-opset" below opset 11, and for an operator that cannot be rewritten without knowing more
 */
export function raiseOpset(model: ModelProto, graph: Graph, rankOf: (value: string) => number | undefined): void {
  const from = graph.opset;
  if (from >= wanted.opset) return;
  if (from < oldest) {
    throw cannotRaise(`it is of opset ${from}, and only ${oldest} and later can be rewritten`, { opset: from });
  }
  const axes = new AxesInputs(graph);
  for (const body of nestedGraphs([graph.proto])) {
    for (const node of body.node) if (isStandard(node)) rewrite(node, from, axes, rankOf);
  }
  const standard = model.opsetImport.find(({ domain }) => domain === "" || domain === "ai.onnx");
  standard!.version = Long.fromNumber(wanted.opset);
  if (model.irVersion.lt(wanted.ir)) model.irVersion = Long.fromNumber(wanted.ir);
}

function rewrite(node: NodeProto, from: number, axes: AxesInputs, rankOf: (value: string) => number | undefined): void {
  const { opType } = node;
  const since = changedMeaning[opType];
  if (since !== undefined && from < since) {
    throw cannotRaise(`${describeNode(node)} means something else since opset ${since}`, { node: node.name });
  }
  if (/^(Squeeze|Unsqueeze|Reduce.*)$/.test(opType)) moveToInput(node, "axes", axes);
  if (opType === "Split") {
    moveToInput(node, "split", axes);
    const isCounted = node.attribute.some(({ name }) => name === "num_outputs");
    if ((node.input[1] ?? "") === "" && !isCounted) setInt(node, "num_outputs", node.output.length);
  }
  if (opType === "Dropout") removeAttribute(node, "ratio");
  if (from < 13 && /^(Log)?Softmax$|^Hardmax$/.test(opType)) {
    // Before 13 all axes from this one on were flattened together: the same for the last one only.
    const axis = intAttribute(node, "axis", 1);
    const rank = rankOf(node.input[0]!);
    if (axis !== -1 && axis + 1 !== rank) {
      const found = `${describeNode(node)} is over all axes from ${axis} on, which opset 13 has no word for`;
      throw cannotRaise(found, { node: node.name, axis, rank });
    }
    setInt(node, "axis", -1);
  }
}

function moveToInput(node: NodeProto, name: string, axes: AxesInputs): void {
  const values = intsAttribute(node, name);
  if (values === undefined) return;
  removeAttribute(node, name);
  node.input = [node.input[0]!, axes.of(values)];
}

function removeAttribute(node: NodeProto, name: string): void {
  node.attribute = node.attribute.filter((attribute) => attribute.name !== name);
}

function setInt(node: NodeProto, name: string, value: number): void {
  removeAttribute(node, name);
  node.attribute.push(createMessage("AttributeProto", { name, type: AttributeType.INT, i: Long.fromNumber(value) }));
}

/** Lists of integers as initializers of the main graph, which bodies see too. Each list is added once. */
class AxesInputs {
  readonly #graph: Graph;
  readonly #names = new Map<string, string>();

  constructor(graph: Graph) {
    this.#graph = graph;
  }

  of(values: readonly number[]): string {
    const key = values.join("_");
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const name = this.#graph.freshName(`favor/axes_${key}`);
    this.#graph.addInitializer(makeTensor(name, [values.length], DataType.INT64, BigInt64Array.from(values, BigInt)));
    this.#names.set(key, name);
    return name;
  }
}

function cannotRaise(found: string, details: Readonly<Record<string, unknown>>): GraphError {
  const advice = `Export it again with a newer opset, or choose another target.`;
  const message = `LinearAttention needs opset ${wanted.opset}, and the model cannot be raised to it: ${found}. ${advice}`;
  return new GraphError("cannot-raise-opset", message, details);
}
