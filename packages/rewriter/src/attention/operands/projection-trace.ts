import { evaluateNode } from "@favor/onnx/evaluate";
import { tensorOf, type Tensor } from "@favor/onnx/evaluate";
import { DataType, type NodeProto } from "@favor/onnx";
import { movingOperators } from "@favor/onnx/semantics";
import { floatAttribute, intAttribute } from "@favor/onnx/graph";
import { dimsOf, type AttentionContext } from "../context.ts";
import type { Operand } from "../site.ts";

/** Where an operand is projected: x W + b, and which column of W each of its elements comes from. */
export interface ProjectionTrace {
  /** MatMul or Gemm; its second input is the weight. */
  readonly product: NodeProto;
  /** Whether the weight is [columns, inputs] (Gemm with transB). */
  readonly transposed: boolean;
  /** The node and input that hold the bias, if there is one. */
  readonly bias: { readonly node: NodeProto; readonly input: number } | undefined;
  /** Column of the weight for [head, dim], heads slowest. All different. */
  readonly columns: Int32Array;
}

/**
 * Follows an operand up to the weights that project it, through nodes that only move or scale elements. Column numbers
 * moved the same way show where each element comes from, through any chain of reshapes, transpositions, splits and
 * slices.
 *
 * @returns undefined if something else stands in between (rotary embedding, shared heads), if the weight or bias is not a
 *   plain float32 initializer, or if another reader would see the columns change
 */
export function traceProjection(
  context: AttentionContext,
  operand: Operand,
  heads: number,
): ProjectionTrace | undefined {
  const chain = chainAbove(context, operand.value);
  if (chain === undefined) return undefined;
  const { product, steps, bias } = chain;
  const made = product.output[0]!;
  const dims = dimsOf(context, made);
  if (dims === undefined) return undefined;
  const width = dims.at(-1)!;
  const size = dims.reduce((total, dim) => total * dim, 1);
  let numbers = tensorOf(
    DataType.INT32,
    dims,
    Int32Array.from({ length: size }, (_, i) => i % width),
  );
  const along = [{ value: made, numbers }];
  for (const step of steps) {
    const moved = step.moves ? moveNumbers(context, step.node, step.from, step.to, numbers) : numbers;
    if (moved === undefined) return undefined;
    numbers = moved;
    along.push({ value: step.to, numbers });
  }
  const columns = columnsByHead(operand, numbers, heads);
  if (columns === undefined || new Set(columns).size < columns.length) return undefined;
  const own = new Set(columns);
  const inChain = new Set<NodeProto>([product, ...steps.map((step) => step.node)]);
  if (!along.every((entry) => isExclusive(context, entry, inChain, own, operand.value))) return undefined;
  return { product, transposed: intAttribute(product, "transB", 0) === 1, bias, columns };
}

interface Step {
  readonly node: NodeProto;
  readonly from: string;
  readonly to: string;
  /** Whether elements change places; scales and biases leave them. */
  readonly moves: boolean;
}

function chainAbove(
  context: AttentionContext,
  value: string,
): { product: NodeProto; steps: Step[]; bias: ProjectionTrace["bias"] } | undefined {
  const { graph } = context;
  const steps: Step[] = [];
  let bias: ProjectionTrace["bias"];
  let at = value;
  for (let length = 0; length < 32; length++) {
    const node = graph.producer(at);
    if (node === undefined) return undefined;
    const product = weightProduct(context, node);
    if (product !== undefined) {
      if (product.bias !== undefined && bias !== undefined) return undefined;
      return { product: node, steps: steps.toReversed(), bias: bias ?? product.bias };
    }
    const data = node.input.filter((input) => context.dynamic.has(input));
    const from = data[0];
    if (from === undefined || data.length > 1) return undefined;
    if (movingOperators.has(node.opType)) {
      if (from !== node.input[0]) return undefined;
      steps.push({ node, from, to: at, moves: true });
    } else if (node.opType === "Mul" || node.opType === "Div") {
      const other = node.input[from === node.input[0] ? 1 : 0]!;
      const isScalar = context.first.info.get(other)?.value?.data.length === 1;
      if (!isScalar || (node.opType === "Div" && from !== node.input[0])) return undefined;
      steps.push({ node, from, to: at, moves: false });
    } else if (node.opType === "Add") {
      const input = from === node.input[0] ? 1 : 0;
      if (bias !== undefined || !isPlainBias(context, node.input[input]!, from)) return undefined;
      // A bias after a scale, or after the elements were moved, is not the projection's own.
      const above = graph.producer(from);
      if (above === undefined || weightProduct(context, above) === undefined) return undefined;
      bias = { node, input };
      steps.push({ node, from, to: at, moves: false });
    } else return undefined;
    at = from;
  }
  return undefined;
}

function weightProduct(context: AttentionContext, node: NodeProto): { bias: ProjectionTrace["bias"] } | undefined {
  if (node.opType !== "MatMul" && node.opType !== "Gemm") return undefined;
  const weight = context.graph.constantProto(node.input[1] ?? "");
  if (weight?.dataType !== DataType.FLOAT || weight.dims.length !== 2) return undefined;
  if (node.opType === "MatMul") return { bias: undefined };
  const bias = node.input[2] ?? "";
  const plain = floatAttribute(node, "alpha", 1) === 1 && intAttribute(node, "transA", 0) === 0;
  if (!plain) return undefined;
  if (bias === "" || floatAttribute(node, "beta", 1) === 0) return { bias: undefined };
  if (floatAttribute(node, "beta", 1) !== 1 || !isPlainBias(context, bias, node.output[0]!)) return undefined;
  return { bias: { node, input: 2 } };
}

/** A float32 initializer with one entry per column. */
function isPlainBias(context: AttentionContext, bias: string, value: string): boolean {
  const tensor = context.graph.constantProto(bias);
  const width = dimsOf(context, value)?.at(-1);
  return tensor?.dataType === DataType.FLOAT && tensor.dims.length === 1 && tensor.dims[0]!.toNumber() === width;
}

/** Moves numbers that stand for a node's input `from` as the node moves elements, to its output `to`. */
export function moveNumbers(
  context: AttentionContext,
  node: NodeProto,
  from: string,
  to: string,
  numbers: Tensor,
): Tensor | undefined {
  const inputs = node.input.map((input) => {
    if (input === "") return null;
    return input === from ? numbers : (context.first.info.get(input)?.value ?? undefined);
  });
  if (inputs.includes(undefined)) return undefined;
  const outputs = evaluateNode(node, inputs as (Tensor | null)[], { opsets: context.graph.opsets });
  return outputs[node.output.indexOf(to)];
}

/** Column of each (head, dim); undefined if it depends on the batch or the position. */
function columnsByHead({ roles, groups }: Operand, { dims, data }: Tensor, heads: number): Int32Array | undefined {
  const dimAxis = roles.indexOf("dim");
  if (dimAxis < 0) return undefined;
  const dim = dims[dimAxis]!;
  const columns = new Int32Array(heads * dim).fill(-1);
  const index = dims.map(() => 0);
  for (const column of data) {
    let head = 0;
    roles.forEach((role, axis) => {
      if (role === "head") head += index[axis]! * (groups?.[1] ?? 1);
      else if (role === "group") head += index[axis]!;
      else if (role === "batch-head") head = index[axis]! % heads;
    });
    const at = head * dim + index[dimAxis]!;
    if (at >= columns.length || (columns[at]! >= 0 && columns[at] !== column)) return undefined;
    columns[at] = column;
    for (let axis = dims.length - 1; axis >= 0 && ++index[axis]! === dims[axis]; axis--) index[axis] = 0;
  }
  return columns.includes(-1) ? undefined : columns;
}

/** Whether nothing outside the chain sees the operand's columns at this value. */
function isExclusive(
  context: AttentionContext,
  { value, numbers }: { value: string; numbers: Tensor },
  inChain: ReadonlySet<NodeProto>,
  own: ReadonlySet<number>,
  operand: string,
): boolean {
  const { graph } = context;
  if (graph.isOutput(value)) return false;
  return graph.consumers(value).every((reader) => {
    if (reader.opType === "Shape" || reader.opType === "Size") return true;
    // Only the attention product may read the operand itself.
    if (value === operand) return graph.consumers(value).filter((n) => n.opType !== "Shape").length === 1;
    if (!movingOperators.has(reader.opType)) return inChain.has(reader);
    return reader.output.every((output) => {
      if (output === "" || (inChain.has(reader) && leadsToOperand(graph, output, operand, inChain))) return true;
      const seen = moveNumbers(context, reader, value, output, numbers);
      return seen !== undefined && !seen.data.some((column: number) => own.has(column));
    });
  });
}

function leadsToOperand(
  graph: AttentionContext["graph"],
  output: string,
  operand: string,
  inChain: ReadonlySet<NodeProto>,
): boolean {
  return output === operand || graph.consumers(output).some((reader) => inChain.has(reader));
}
