import { evaluateNode } from "@favor/onnx/evaluate";
import { elementCount, tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { DataType, type NodeProto } from "@favor/onnx";
import { dimsOf, type AttentionContext } from "../context.ts";
import { valuesAbove } from "@favor/onnx/graph";
import { moveNumbers } from "./projection-trace.ts";
import { movingOperators, allProducts } from "@favor/onnx/semantics";

/** Limit of nodes between an operand and its projections; splitting and joining takes a few per head. */
const mostNodes = 256;
/** Projections with more elements at the probed sizes are not followed. */
const mostElements = 2 ** 20;
const elementwise = new Set("Add Sub Mul Div Cast Dropout".split(" "));

/**
 * Whether an axis of `heads` times `batch` entries has the heads slowest, as after split heads are concatenated along the
 * batch: entry i belongs to batch item i mod batch. To find out, the numbers of the batch items are moved from the
 * projections to the operand; false if they cannot be followed.
 */
export function hasHeadsSlowest(context: AttentionContext, value: string, axis: number, batch: number): boolean {
  const { nodes, sources } = wayUp(context, value);
  const numbers = new Map<string, Tensor>();
  for (const source of sources) {
    const made = batchNumbers(context, source, batch);
    if (made !== undefined) numbers.set(source, made);
  }
  for (const node of nodes) for (const output of node.output) follow(context, node, output, numbers);
  const found = numbers.get(value);
  if (found === undefined) return false;
  const stride = elementCount(found.dims.slice(axis + 1));
  return Array.from({ length: found.dims[axis]! }, (_, i) => found.data[i * stride] === i % batch).every(Boolean);
}

const readsBelowProjections = ({ opType, input }: NodeProto): string[] => (allProducts.has(opType) ? [] : input);

/** The nodes from a value's projections down to the value, in graph order, and the projections. */
function wayUp({ graph, dynamic }: AttentionContext, value: string): { nodes: NodeProto[]; sources: Set<string> } {
  const found = new Set<NodeProto>();
  const sources = new Set<string>();
  const producer = (at: string): NodeProto | undefined => (dynamic.has(at) ? graph.producer(at) : undefined);
  for (const [at, node] of valuesAbove([value], producer, readsBelowProjections)) {
    if (node === undefined) continue;
    if (allProducts.has(node.opType)) sources.add(at);
    else if (found.add(node).size === mostNodes) break;
  }
  return { nodes: graph.sorted(found), sources };
}

/** For each element of a projection, the number of its batch item, on the axis as long as the batch at both probes. */
function batchNumbers(context: AttentionContext, value: string, batch: number): Tensor | undefined {
  const dims = dimsOf(context, value) ?? [];
  const second = context.second?.info.get(value)?.dims ?? [];
  const axis = dims.findIndex((dim, i) => dim === batch && second[i] !== dim);
  if (axis < 0 || elementCount(dims) > mostElements) return undefined;
  const stride = elementCount(dims.slice(axis + 1));
  const numbers = Int32Array.from({ length: elementCount(dims) }, (_, i) => Math.floor(i / stride) % batch);
  return tensorOf(DataType.INT32, dims, numbers);
}

function follow(context: AttentionContext, node: NodeProto, output: string, numbers: Map<string, Tensor>): void {
  const from = node.input.find((input) => numbers.has(input));
  if (from === undefined || output === "") return;
  const known = numbers.get(from)!;
  if (movingOperators.has(node.opType)) {
    const moved = from === node.input[0] ? moveNumbers(context, node, from, output, known) : undefined;
    if (moved !== undefined) numbers.set(output, moved);
  } else if (node.opType === "Concat") {
    const parts = node.input.map((input) => numbers.get(input));
    if (parts.includes(undefined)) return;
    numbers.set(output, evaluateNode(node, parts as Tensor[], { opsets: context.graph.opsets })[0]!);
  } else if (elementwise.has(node.opType) && dimsOf(context, output)?.join() === known.dims.join()) {
    numbers.set(output, known);
  }
}
