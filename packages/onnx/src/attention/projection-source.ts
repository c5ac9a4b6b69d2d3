import type { NodeProto } from "../model/proto.ts";
import type { AttentionContext } from "./context.ts";

const products = new Set(
  "MatMul Gemm Einsum Conv FusedMatMul MatMulInteger MatMulNBits QLinearMatMul MatMulIntegerToFloat DynamicQuantizeMatMul".split(
    " ",
  ),
);

/**
 * The activations that an operand is projected from: the data inputs of the nearest weight products above it. Query
 * and key of self-attention have the same, those of cross-attention different ones.
 */
export function projectionSources(context: AttentionContext, value: string): Set<string> {
  const sources = new Set<string>();
  const seen = new Set<string>();
  const pending = [value];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    if (at === "" || seen.has(at) || !context.dynamic.has(at)) continue;
    seen.add(at);
    const node = context.graph.producer(at);
    if (node === undefined) sources.add(at);
    else if (products.has(node.opType)) for (const source of activationInputs(context, node)) sources.add(source);
    else pending.push(...node.input);
  }
  return sources;
}

/** The inputs of a product that are data, seen through reshapes and quantisation to where several may share them. */
function activationInputs(context: AttentionContext, node: NodeProto): string[] {
  return node.input.filter((input) => context.dynamic.has(input)).map((input) => throughLayout(context, input));
}

const layout = new Set(
  "Reshape Transpose Squeeze Unsqueeze Flatten Identity Cast DynamicQuantizeLinear QuantizeLinear DequantizeLinear".split(
    " ",
  ),
);

function throughLayout(context: AttentionContext, value: string): string {
  let at = value;
  for (let node = context.graph.producer(at); node && layout.has(node.opType); node = context.graph.producer(at)) {
    at = node.input[0]!;
  }
  return at;
}

/** What the graph multiplies by between the nearest weight product and the operand: scalar Mul and Div nodes. */
export function scaleAbove(context: AttentionContext, value: string): number {
  let scale = 1;
  let at = value;
  for (;;) {
    const node = context.graph.producer(at);
    if (node === undefined || products.has(node.opType)) return scale;
    const factor = scalarFactor(context, node);
    const next = factor?.input ?? passThrough(context, node);
    if (next === undefined) return scale;
    scale *= factor?.factor ?? 1;
    at = next;
  }
}

/** The scalar that a Mul or Div multiplies its data input by. */
function scalarFactor(context: AttentionContext, node: NodeProto): { input: string; factor: number } | undefined {
  if (node.opType !== "Mul" && node.opType !== "Div") return undefined;
  const [a, b] = node.input as [string, string];
  const [first, second] = [scalar(context, a), scalar(context, b)];
  if (second !== undefined && first === undefined) {
    return { input: a, factor: node.opType === "Mul" ? second : 1 / second };
  }
  return first !== undefined && second === undefined && node.opType === "Mul" ? { input: b, factor: first } : undefined;
}

function scalar(context: AttentionContext, value: string): number | undefined {
  const known = context.first.info.get(value)?.value;
  return known?.data.length === 1 ? known.data[0] : undefined;
}

const moving = new Set(
  "Reshape Transpose Squeeze Unsqueeze Flatten Identity Cast Expand Split Slice Gather Concat".split(" "),
);

/** The one data input of a node that only moves elements, or adds a constant; undefined for any other node. */
function passThrough(context: AttentionContext, node: NodeProto): string | undefined {
  const data = node.input.filter((input) => context.dynamic.has(input));
  if (moving.has(node.opType))
    return context.dynamic.has(node.input[0] ?? "") && data.length === 1 ? data[0] : undefined;
  return node.opType === "Add" && data.length === 1 ? data[0] : undefined;
}
