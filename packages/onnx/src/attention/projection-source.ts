import type { NodeProto } from "../model/proto.ts";
import type { AttentionContext } from "./context.ts";

/** Products of data with weights, or of data with data. */
export const projecting: ReadonlySet<string> = new Set(
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
    else if (projecting.has(node.opType)) for (const source of activationInputs(context, node)) sources.add(source);
    else pending.push(...node.input);
  }
  return sources;
}

/** Whether a node multiplies data by weights. */
export function isWeightProduct(context: AttentionContext, node: NodeProto): boolean {
  return projecting.has(node.opType) && node.input.slice(0, 2).some((input) => !context.dynamic.has(input));
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

/** The value that this one is the same elements of, in another layout or type. */
export function throughLayout(context: AttentionContext, value: string): string {
  let at = value;
  for (let node = context.graph.producer(at); node && layout.has(node.opType); node = context.graph.producer(at)) {
    at = node.input[0]!;
  }
  return at;
}
