import { FavorError } from "@favor/core";
import { ancestors, reachable } from "@favor/onnx/graph";
import { type AttentionContext } from "../attention/context.ts";
import { type GraphProbe } from "@favor/onnx/graph";
import { evaluateGraph } from "@favor/onnx/evaluate";
import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { bodies, describeNode, intAttribute } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { NodeBuilder } from "@favor/onnx/graph";
import { cannotBeStateful, lengthStep } from "./position-mixing.ts";
import { pastLengthInput } from "./state.ts";

/** Places of inputs that give a size or select a part, and whose values do not enter the result, by operator. */
const shapeInputs: Readonly<Record<string, readonly number[]>> = {
  Expand: [1],
  Gather: [1],
  Pad: [1, 3],
  ReduceMax: [1],
  ReduceMean: [1],
  ReduceMin: [1],
  ReduceSum: [1],
  Reshape: [1],
  Resize: [2, 3],
  Slice: [1, 2, 3, 4],
  Split: [1],
  Squeeze: [1],
  Tile: [1],
  TopK: [1],
  Unsqueeze: [1],
};

/**
 * Makes positions continue where the previous piece ended: adds `favor_past_length` to every Range over positions and
 * to the bounds of every slice of a table. Then proves by evaluation that all values that depend on the length alone
 * continue: those of a piece are the tail of those of the whole.
 *
 * @param context of the main graph, as found before the conversion; its dead nodes are gone
 * @throws GraphError "cannot-be-stateful", naming the value that does not continue
 */
export function offsetPositions(context: AttentionContext): void {
  const { graph } = context;
  const read = positionValues(context);
  if (read.size === 0) return;
  const counting = countingNodes(context, [...read.keys()]);
  refuseIndexing(context, counting);
  if (counting.length > 0) {
    const type = {
      tensorType: { elemType: DataType.INT64, shape: createMessage("TensorShapeProto", {}) },
      denotation: "",
    };
    graph.proto.input.push(createMessage("ValueInfoProto", { name: pastLengthInput, type }));
    const build = new NodeBuilder(graph, "favor");
    for (const node of counting) offsetNode(context, build, node);
    build.commit();
    graph.reindex();
  }
  for (const [value, reader] of read) proveContinuation(context, value, reader);
}

/** Values that depend on the input's length but not on its content, and that enter activations; each with a reader. */
function positionValues({ graph, dynamic }: AttentionContext): Map<string, NodeProto> {
  const found = new Map<string, NodeProto>();
  for (const node of graph.nodes) {
    if (!node.output.some((output) => dynamic.has(output))) continue;
    node.input.forEach((value, at) => {
      if (value === "" || dynamic.has(value) || graph.producer(value) === undefined || graph.isConstant(value)) return;
      if (!(shapeInputs[node.opType] ?? []).includes(at) && !isFavor(value)) found.set(value, node);
    });
  }
  return found;
}

/** Whether the conversion made the value: its own shapes and constants are right by construction. */
const isFavor = (value: string): boolean => value.startsWith("favor/");

/** The nodes that count positions, or take as many rows of a table as the input has positions. */
function countingNodes(context: AttentionContext, values: readonly string[]): NodeProto[] {
  const { graph } = context;
  const isOne = (value: string): boolean => context.first.info.get(value)?.value?.data[0] === 1;
  return [...ancestors(graph, values)].filter((node) => {
    if (bodies(node).length > 0 || !growsWithLength(context, node.output[0]!)) return false;
    if (node.opType === "Range") return isOne(node.input[2]!);
    return node.opType === "Slice" && node.input.length > 2 && graph.isConstant(node.input[0]!);
  });
}

function growsWithLength(context: AttentionContext, value: string): boolean {
  const one = context.first.info.get(value)?.dims;
  const two = context.second?.info.get(value)?.dims;
  return one?.some((dim, axis) => (two?.[axis] ?? dim) - dim === lengthStep(context)) ?? false;
}

/** Refuses positions that also index the piece itself: those must start at 0, and one node cannot do both. */
function refuseIndexing(context: AttentionContext, counting: readonly NodeProto[]): void {
  const { graph, dynamic } = context;
  const start = counting.flatMap((node) => node.output);
  const isActivation = ({ output }: NodeProto): boolean => output.some((name) => dynamic.has(name));
  const readers = (value: string): NodeProto[] =>
    graph.consumers(value).filter(({ opType }) => opType !== "Shape" && opType !== "Size");
  const next = (value: string): string[] =>
    readers(value).flatMap((reader) => (isActivation(reader) ? [] : reader.output));
  for (const value of reachable(start, next)) {
    for (const reader of readers(value)) {
      const places = shapeInputs[reader.opType] ?? [];
      const isIndexed = reader.input.some((input, at) => input === value && places.includes(at));
      if (!isActivation(reader) || !isIndexed) continue;
      throw cannotBeStateful(
        `${describeNode(reader)} looks up positions within the piece by "${value}", which also counts positions`,
        { node: reader.name || reader.output[0], value },
      );
    }
  }
}

function offsetNode(context: AttentionContext, build: NodeBuilder, node: NodeProto): void {
  const { graph, first } = context;
  const shifted = (value: string, past: string): string => {
    const type = first.info.get(value)?.dataType ?? DataType.INT64;
    return build.op("Add", [value, type === DataType.INT64 ? past : build.cast(past, type)]);
  };
  if (node.opType === "Range") {
    const [output] = node.output as [string];
    node.output[0] = graph.freshName(`favor/${output}/piece`);
    const type = first.info.get(output)?.dataType ?? DataType.INT64;
    const past = type === DataType.INT64 ? pastLengthInput : build.cast(pastLengthInput, type);
    build.op("Add", [node.output[0], past], {}, { output });
    return;
  }
  const past = build.unsqueeze(pastLengthInput, [0]);
  node.input[1] = shifted(node.input[1]!, past);
  node.input[2] = shifted(node.input[2]!, past);
}

/** Proves that values of a later piece are the tail of the whole's, and those of the first piece its head. */
function proveContinuation(context: AttentionContext, value: string, reader: NodeProto): void {
  const step = lengthStep(context);
  const [piece, whole] = [context.first, context.second!];
  let reason: string;
  try {
    const all = evaluateAt(context, whole, value, 0);
    const batches = whole.sizes.batch - piece.sizes.batch;
    const goesOn =
      isPart(evaluateAt(context, piece, value, step), all, step, step, batches) &&
      isPart(evaluateAt(context, piece, value, 0), all, step, 0, batches);
    if (goesOn) return;
    reason = "does not continue from one piece to the next";
  } catch (error) {
    if (!FavorError.isInstance(error)) throw error;
    reason = `could not be evaluated: ${error.message}`;
  }
  throw cannotBeStateful(
    `"${value}", which ${describeNode(reader)} reads, depends on the input's length and ${reason}`,
    { value, node: reader.name || reader.output[0] },
  );
}

function evaluateAt({ graph }: AttentionContext, { info }: GraphProbe, value: string, past: number): Tensor {
  const nodes = ancestors(graph, [value]);
  const feeds = new Map([[pastLengthInput, tensorOf(DataType.INT64, [], [past])]]);
  for (const node of nodes) {
    if (node.opType !== "Shape" && node.opType !== "Size") continue;
    const dims = info.get(node.input[0]!)?.dims;
    if (dims === undefined) continue;
    const made =
      node.opType === "Size"
        ? tensorOf(DataType.INT64, [], [dims.reduce((product, dim) => product * dim, 1)])
        : shapeTensor(dims.slice(intAttribute(node, "start", 0), intAttribute(node, "end", dims.length)));
    feeds.set(node.output[0]!, made);
  }
  const initializer = (name: string) => graph.initializer(name);
  return evaluateGraph(nodes, [value], feeds, { opsets: graph.opsets, initializer }).get(value)!;
}

const shapeTensor = (dims: readonly number[]): Tensor => tensorOf(DataType.INT64, [dims.length], dims);

/** Whether `part` lies in `whole` at `offset` along the axes that are `step` longer there, and at 0 along the others. */
function isPart(part: Tensor, whole: Tensor, step: number, offset: number, batches: number): boolean {
  const { dims } = part;
  if (dims.length !== whole.dims.length) return false;
  const starts: number[] = [];
  for (const [axis, dim] of dims.entries()) {
    const longer = whole.dims[axis]! - dim;
    if (longer !== 0 && longer !== step && longer !== batches) return false;
    starts.push(longer === step ? offset : 0);
  }
  for (let at = 0; at < part.data.length; at++) {
    let [rest, position, stride] = [at, 0, 1];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      position += ((rest % dims[axis]!) + starts[axis]!) * stride;
      rest = Math.floor(rest / dims[axis]!);
      stride *= whole.dims[axis]!;
    }
    if (!Object.is(part.data[at]! + 0, whole.data[position]! + 0)) return false;
  }
  return true;
}
