import { stridedPositions } from "@favor/onnx/evaluate";
import { elementCount, type Tensor } from "@favor/onnx/evaluate";
import { parseEinsum } from "@favor/onnx/graph";
import { stringAttribute } from "@favor/onnx/graph";
import { DataType, type NodeProto } from "@favor/onnx";
import { dimsOf, type AttentionContext } from "../context.ts";
import { moveNumbers } from "./projection-trace.ts";
import { movingOperators } from "@favor/onnx/semantics";

/** Longest path from an operand up to the weights that project it. */
const longestWay = 64;
/** One number for each element of a projection at the probed sizes: a large image's patches have a few million. */
const mostChannelNumbers = 2 ** 24;

/**
 * The axes of an operand along which the channels of its projection lie: its dim, and its head axis if it has one. The
 * operand is followed up through nodes that move elements or keep them in place; then channel numbers are moved down.
 *
 * @returns undefined if the operand cannot be traced to weights
 */
export function channelAxes(context: AttentionContext, value: string): ReadonlySet<number> | undefined {
  const steps: { node: NodeProto; from: string; to: string }[] = [];
  let at = value;
  for (let step = 0; step < longestWay; step++) {
    const node = context.graph.producer(at);
    if (node === undefined) return undefined;
    let numbers = channelNumbers(context, node);
    if (numbers !== undefined) {
      for (const { node: mover, from, to } of steps.toReversed()) {
        const moved: Tensor | undefined = moveNumbers(context, mover, from, to, numbers);
        if (moved === undefined) return undefined;
        numbers = moved;
      }
      return varyingAxes(numbers);
    }
    const from = dataInput(context, node, at);
    if (from === undefined) return undefined;
    if (movingOperators.has(node.opType)) steps.push({ node, from, to: at });
    at = from;
  }
  return undefined;
}

/** The one input whose elements make up the output, changed one by one or moved; undefined if there is no such input. */
function dataInput(context: AttentionContext, node: NodeProto, output: string): string | undefined {
  const first = node.input[0] ?? "";
  if (movingOperators.has(node.opType)) return context.dynamic.has(first) ? first : undefined;
  const dims = dimsOf(context, output)?.join();
  return node.input.find((input) => context.dynamic.has(input) && dimsOf(context, input)?.join() === dims);
}

/** For a product of data with weights: the number of the channel of each element of its output. */
function channelNumbers(context: AttentionContext, node: NodeProto): Tensor | undefined {
  const data = node.input.filter((input) => context.dynamic.has(input));
  const dims = dimsOf(context, node.output[0] ?? "");
  if (data.length !== 1 || dims === undefined) return undefined;
  const ranks = node.input.map((input) => dimsOf(context, input)?.length);
  const axes = weightAxes(node, dims.length, node.input.indexOf(data[0]!), ranks);
  const count = elementCount(dims);
  if (axes === undefined || count > mostChannelNumbers) return undefined;
  let channels = 1;
  const strides = dims.map(() => 0);
  for (const axis of axes.toReversed()) {
    strides[axis] = channels;
    channels *= dims[axis]!;
  }
  return { dims, dataType: DataType.INT32, data: stridedPositions(dims, strides) };
}

/** Axes of a product's output that come from its weights. */
function weightAxes(
  node: NodeProto,
  rank: number,
  dataIndex: number,
  ranks: readonly (number | undefined)[],
): number[] | undefined {
  switch (node.opType) {
    case "Einsum": {
      const equation = parseEinsum(stringAttribute(node, "equation") ?? "", ranks);
      const weight = equation?.inputs[1 - dataIndex];
      return equation && weight
        ? [...equation.output].flatMap((l, axis) => (weight.includes(l) ? [axis] : []))
        : undefined;
    }
    case "Conv":
      return dataIndex === 0 ? [1] : undefined;
    case "MatMul":
      // Weights on the left mix the rows: Linformer's, of positions.
      if (dataIndex === 1) return (ranks[0] ?? 0) >= 2 ? [rank - 2] : undefined;
      return [rank - 1];
    case "Gemm":
    case "FusedMatMul":
    case "MatMulNBits":
    case "MatMulInteger":
      return dataIndex === 0 ? [rank - 1] : undefined;
    default:
      return undefined;
  }
}

function varyingAxes({ dims, data }: Tensor): Set<number> {
  const varying = new Set<number>();
  let stride = 1;
  for (let axis = dims.length - 1; axis >= 0; axis--) {
    const size = dims[axis]!;
    // Neighbours along the axis, in each block of it.
    for (let start = 0; start < data.length && !varying.has(axis); start += stride * size) {
      for (let i = start + stride; i < start + stride * size; i++) {
        if (data[i] === data[i - stride]) continue;
        varying.add(axis);
        break;
      }
    }
    stride *= size;
  }
  return varying;
}
