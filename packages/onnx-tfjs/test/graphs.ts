import { AttributeType, createMessage, makeTensor, type AttributeProto, type GraphProto } from "@favor/onnx";
import type {
  FunctionProto,
  ModelProto,
  NodeProto,
  OperatorSetIdProto,
  TensorProto,
  ValueInfoProto,
} from "@favor/onnx";
import Long from "long";

/** INT, INTS, STRING, TENSOR, GRAPH or, as `{ float }`, FLOAT. */
export type Attribute = number | readonly number[] | string | TensorProto | GraphProto | { readonly float: number };

function attribute(name: string, value: Attribute): AttributeProto {
  const make = (fields: Partial<AttributeProto>): AttributeProto =>
    createMessage("AttributeProto", { name, ...fields });
  if (typeof value === "number") return make({ type: AttributeType.INT, i: Long.fromNumber(value) });
  if (typeof value === "string") return make({ type: AttributeType.STRING, s: new TextEncoder().encode(value) });
  if (Array.isArray(value)) {
    return make({ type: AttributeType.INTS, ints: (value as number[]).map((i) => Long.fromNumber(i)) });
  }
  if ("float" in value) return make({ type: AttributeType.FLOAT, f: value.float });
  if ("rawData" in value) return make({ type: AttributeType.TENSOR, t: value });
  return make({ type: AttributeType.GRAPH, g: value as GraphProto });
}

/** A node; integers as attributes are INT, floats are written `{ float }`. */
export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Readonly<Record<string, Attribute>> = {},
  domain = "",
): NodeProto {
  return createMessage("NodeProto", {
    name: `${opType} of ${output[0] ?? ""}`,
    opType,
    domain,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
  });
}

/** A value with its type and shape; a text is a named dimension. */
export function info(name: string, dataType: number, shape?: readonly (number | string)[]): ValueInfoProto {
  const dim = shape?.map((size) =>
    createMessage(
      "DimensionProto",
      typeof size === "number" ? { dimValue: Long.fromNumber(size) } : { dimParam: size },
    ),
  );
  const tensorType = createMessage("TensorTypeProto", {
    elemType: dataType,
    ...(dim === undefined ? {} : { shape: createMessage("TensorShapeProto", { dim }) }),
  });
  return createMessage("ValueInfoProto", { name, type: createMessage("TypeProto", { tensorType }) });
}

export interface GraphParts {
  readonly nodes: readonly NodeProto[];
  readonly inputs?: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly initializers?: readonly TensorProto[];
}

export function graph({ nodes, inputs = [], outputs, initializers = [] }: GraphParts): GraphProto {
  return createMessage("GraphProto", {
    name: "graph",
    node: [...nodes],
    input: [...inputs],
    output: [...outputs],
    initializer: [...initializers],
  });
}

function opset(domain: string, version: number): OperatorSetIdProto {
  return createMessage("OperatorSetIdProto", { domain, version: Long.fromNumber(version) });
}

/** A model of opset 17 (and com.microsoft 1) by default. */
export function model(parts: GraphParts, options: { opset?: number; functions?: FunctionProto[] } = {}): ModelProto {
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(8),
    producerName: "a test",
    opsetImport: [opset("", options.opset ?? 17), opset("com.microsoft", 1)],
    graph: graph(parts),
    functions: options.functions ?? [],
  });
}

/** float32, in raw_data. */
export function floats(name: string, dims: readonly number[], values: ArrayLike<number>): TensorProto {
  return makeTensor(name, dims, 1, Float32Array.from(values));
}

/** int64, in raw_data. */
export function integers(name: string, dims: readonly number[], values: readonly number[]): TensorProto {
  return makeTensor(name, dims, 7, BigInt64Array.from(values, BigInt));
}

/** Numbers in (-1, 1), the same in every run. */
export function noise(count: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
