import Long from "long";
import {
  AttributeType,
  type AttributeProto,
  type GraphProto,
  type NodeProto,
  type StringStringEntryProto,
  type TensorProto,
} from "../model/proto.ts";
import { createMessage } from "../model/schema.ts";

/** Strings of attributes are names of modes and equations: ASCII. */
const decodeAscii = (bytes: Uint8Array): string => String.fromCharCode(...bytes.subarray(0, 4096));
const encodeAscii = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

export function attribute(node: NodeProto, name: string): AttributeProto | undefined {
  return node.attribute.find((candidate) => candidate.name === name);
}

export function intAttribute(node: NodeProto, name: string): number | undefined;
export function intAttribute(node: NodeProto, name: string, fallback: number): number;
export function intAttribute(node: NodeProto, name: string, fallback?: number): number | undefined {
  const found = attribute(node, name);
  return found === undefined ? fallback : found.i.toNumber();
}

export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return attribute(node, name)?.ints.map((value) => value.toNumber());
}

export function floatAttribute(node: NodeProto, name: string, fallback: number): number {
  return attribute(node, name)?.f ?? fallback;
}

export function stringAttribute(node: NodeProto, name: string): string | undefined {
  const found = attribute(node, name);
  return found === undefined ? undefined : decodeAscii(found.s);
}

/** The value of a new node's attribute: an integer, integers, a float, a text, a body or a tensor. */
export type AttributeValue =
  | { int: number }
  | { ints: number[] }
  | { float: number }
  | { string: string }
  | { graph: GraphProto }
  | TensorProto;

function makeAttribute(name: string, value: AttributeValue): AttributeProto {
  const make = (fields: Partial<AttributeProto>): AttributeProto =>
    createMessage("AttributeProto", { name, ...fields });
  if ("int" in value) return make({ type: AttributeType.INT, i: Long.fromNumber(value.int) });
  if ("ints" in value) return make({ type: AttributeType.INTS, ints: value.ints.map((i) => Long.fromNumber(i)) });
  if ("float" in value) return make({ type: AttributeType.FLOAT, f: value.float });
  if ("string" in value) return make({ type: AttributeType.STRING, s: encodeAscii(value.string) });
  if ("graph" in value) return make({ type: AttributeType.GRAPH, g: value.graph });
  return make({ type: AttributeType.TENSOR, t: value });
}

export interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, AttributeValue>>;
  readonly metadata?: StringStringEntryProto[];
}

export function makeNode(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  options: NodeOptions = {},
): NodeProto {
  return createMessage("NodeProto", {
    input: [...input],
    output: [...output],
    name: options.name ?? "",
    opType,
    domain: options.domain ?? "",
    attribute: Object.entries(options.attributes ?? {}).map(([name, value]) => makeAttribute(name, value)),
    metadataProps: options.metadata ?? [],
  });
}

/** "ai.onnx" and "" are two spellings of the standard domain. */
export function isStandard(node: NodeProto): boolean {
  return node.domain === "" || node.domain === "ai.onnx";
}

/** The operator's name, with its domain where that is not the standard one: `MatMul`, `com.microsoft.Attention`. */
export function operatorName(node: NodeProto): string {
  return isStandard(node) ? node.opType : `${node.domain}.${node.opType}`;
}
