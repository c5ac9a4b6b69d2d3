import Long from "long";
import { RandomStream, streamPurpose, type LandmarkDescription } from "@favor/core";
import { createMessage, DataType, type ModelProto, type ValueInfoProto } from "@favor/onnx";
import { Graph, NodeBuilder } from "@favor/onnx/graph";

/** The shape of one attention. */
export interface AttentionSize {
  readonly heads: number;
  readonly dim: number;
  /** Whether a padding mask is in use. */
  readonly padding: boolean;
}

/**
 * One self-attention without its projections: of `rows`, [batch, length, 3 x heads x dim] with queries, keys and values
 * side by side, and of `mask`, [batch, length].
 */
export function attentionModel({ heads, dim, padding }: AttentionSize): ModelProto {
  const proto = createMessage("GraphProto", { name: "attention" });
  const model = createMessage("ModelProto", {
    irVersion: Long.fromNumber(9),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(17) })],
    graph: proto,
  });
  const build = new NodeBuilder(Graph.of(model), "attention");
  const width = heads * dim;
  const parts = build.ops("Split", ["rows", build.integers([width, width, width])], 3, { axis: { int: 2 } });
  const [query, key, value] = parts.map((part) =>
    build.transpose(build.op("Reshape", [part, build.integers([0, 0, heads, dim])]), [0, 2, 1, 3]),
  ) as [string, string, string];
  const products = build.op("MatMul", [query, build.transpose(key, [0, 1, 3, 2])]);
  let logits = build.op("Mul", [products, build.scalar(1 / Math.sqrt(dim))]);
  if (padding) {
    const mask = build.unsqueeze(build.cast("mask", DataType.FLOAT), [1, 2]);
    const bias = build.op("Mul", [build.op("Sub", [build.scalar(1), mask]), build.scalar(-1e9)]);
    logits = build.op("Add", [logits, bias]);
  }
  const sums = build.op("MatMul", [build.softmax(logits), value]);
  const joined = build.transpose(sums, [0, 2, 1, 3]);
  build.op("Reshape", [joined, build.integers([0, 0, width])], {}, { output: "out" });
  build.commit();
  proto.input = [
    info("rows", DataType.FLOAT, ["batch", "length", 3 * width]),
    ...(padding ? [info("mask", DataType.INT64, ["batch", "length"])] : []),
  ];
  proto.output = [info("out", DataType.FLOAT, ["batch", "length", width])];
  return model;
}

function info(name: string, elemType: number, dims: readonly (number | string)[]): ValueInfoProto {
  const dim = dims.map((size) =>
    createMessage(
      "DimensionProto",
      typeof size === "number" ? { dimValue: Long.fromNumber(size) } : { dimParam: size },
    ),
  );
  const tensorType = { elemType, shape: createMessage("TensorShapeProto", { dim }) };
  return createMessage("ValueInfoProto", { name, type: { tensorType, denotation: "" } });
}

/** Landmark features as a fit would give them, of random numbers: time does not depend on them. */
export function landmarksOf(dim: number, count: number, head: number): LandmarkDescription {
  const random = new RandomStream({ seed: 1, purpose: streamPurpose.sampling, layer: 0, head });
  const numbers = (size: number, scale: number): number[] =>
    Array.from({ length: size }, () => scale * random.gaussian());
  const matrix = Array.from({ length: dim * dim }, (_, i) => (i % (dim + 1) === 0 ? 1 : 0));
  return {
    version: 1,
    kind: "landmark",
    dim,
    count,
    queryMean: numbers(dim, 0.1),
    keyMean: numbers(dim, 0.1),
    queryMatrix: matrix,
    keyMatrix: matrix,
    keyLandmarks: numbers(count * dim, 0.3),
    queryLandmarks: numbers(count * dim, 0.3),
    logWeight: numbers(count, 0.1),
    core: numbers(count * count, 1).map(Math.abs),
  };
}
