import Long from "long";
import { AttributeType, DataType, type AttributeProto, type GraphProto, type NodeProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { evaluateNode } from "@favor/onnx/evaluate";
import { encodeTensor, tensorOf, type Tensor } from "@favor/onnx/evaluate";

export type AttributeValue = number | string | readonly number[] | Tensor | GraphProto | { readonly float: number };

function attribute(name: string, value: AttributeValue): AttributeProto {
  const make = (type: number, fields: Partial<AttributeProto>) =>
    createMessage("AttributeProto", { name, type, ...fields });
  if (typeof value === "number") return make(AttributeType.INT, { i: Long.fromNumber(value) });
  if (typeof value === "string") return make(AttributeType.STRING, { s: new TextEncoder().encode(value) });
  if (Array.isArray(value)) {
    return make(AttributeType.INTS, { ints: (value as number[]).map((item) => Long.fromNumber(item)) });
  }
  if ("float" in value) return make(AttributeType.FLOAT, { f: value.float });
  if ("node" in value) return make(AttributeType.GRAPH, { g: value });
  return make(AttributeType.TENSOR, { t: encodeTensor("", value as Tensor) });
}

/** A node of the standard domain, or of the domain before a colon in `opType`. */
export function node(
  opType: string,
  input: string[],
  output: string[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
): NodeProto {
  const [domain, type] = opType.includes(":") ? opType.split(":") : ["", opType];
  return createMessage("NodeProto", {
    domain: domain!,
    opType: type!,
    input,
    output,
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });
}

export const float32 = (dims: readonly number[], values: readonly number[]): Tensor =>
  tensorOf(DataType.FLOAT, dims, values);
export const int64 = (dims: readonly number[], values: readonly number[]): Tensor =>
  tensorOf(DataType.INT64, dims, values);
export const bool = (dims: readonly number[], values: readonly number[]): Tensor =>
  tensorOf(DataType.BOOL, dims, values);
/** A one-dimensional int64 tensor. */
export const list = (...values: number[]): Tensor => int64([values.length], values);

/** INT64_MAX and INT64_MIN, as the evaluator holds them. */
export const int64Max: number = 2 ** 63;
export const int64Min: number = -(2 ** 63);

/** The first output of an operator of opset `opset`. */
export function apply(
  opType: string,
  inputs: readonly (Tensor | null)[],
  attributes: Readonly<Record<string, AttributeValue>> = {},
  opset: number = 24,
): Tensor {
  return applyAll(opType, inputs, attributes, opset, 1)[0]!;
}

const names = (count: number, prefix: string): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** All outputs of an operator of opset `opset`. */
export function applyAll(
  opType: string,
  inputs: readonly (Tensor | null)[],
  attributes: Readonly<Record<string, AttributeValue>>,
  opset: number,
  outputs: number,
): Tensor[] {
  const one = node(opType, names(inputs.length, "in"), names(outputs, "out"), attributes);
  return evaluateNode(one, inputs, { opsets: new Map([["", opset]]) });
}

/** Shape and elements, for comparing. */
export function plain(tensor: Tensor): { dims: number[]; values: number[] } {
  return { dims: [...tensor.dims], values: Array.from(tensor.data) };
}
