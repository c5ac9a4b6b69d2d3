import Long from "long";
import { encodeTensor, type Tensor } from "@favor/onnx/evaluate";
import { DataType, type ModelProto, type NodeProto, type ValueInfoProto } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { int64, list, node } from "./nodes.ts";

/** A value of a graph's surface: free dimensions by name; no shape at all where `dims` is null. */
export function valueInfo(name: string, elemType: number, dims: readonly (number | string)[] | null): ValueInfoProto {
  const shape =
    dims &&
    createMessage("TensorShapeProto", {
      dim: dims.map((dim) =>
        createMessage(
          "DimensionProto",
          typeof dim === "number" ? { dimValue: Long.fromNumber(dim) } : { dimParam: dim },
        ),
      ),
    });
  const tensorType = createMessage("TensorTypeProto", { elemType, ...(shape && { shape }) });
  return createMessage("ValueInfoProto", { name, type: createMessage("TypeProto", { tensorType }) });
}

export const ids: ValueInfoProto = valueInfo("ids", DataType.INT64, ["batch", "length"]);

/** The nodes that make `positions` [length], 0 and up, of `ids`. */
export const countPositions: NodeProto[] = [
  node("Shape", ["ids"], ["shape"]),
  node("Gather", ["shape", "one"], ["length"], { axis: 0 }),
  node("Range", ["zero", "length", "one"], ["positions"]),
];

/** A model of opset 17 with the constants `zero`, `one` (scalars), `axis0`, `axis1` and `long` (lists) besides its own. */
export function smallModel(
  nodes: NodeProto[],
  constants: Readonly<Record<string, Tensor>>,
  outputs: readonly string[] = ["out"],
  inputs: ValueInfoProto[] = [ids],
  opset: number = 17,
): ModelProto {
  const all = { zero: int64([], [0]), one: int64([], [1]), axis0: list(0), axis1: list(1), ...constants };
  return createMessage("ModelProto", {
    irVersion: Long.fromNumber(9),
    opsetImport: [createMessage("OperatorSetIdProto", { version: Long.fromNumber(opset) })],
    graph: createMessage("GraphProto", {
      name: "small",
      // Copies: growing changes what nodes read.
      node: nodes.map((one) => ({ ...one, input: [...one.input] })),
      input: inputs,
      output: outputs.map((name) => valueInfo(name, DataType.FLOAT, null)),
      initializer: Object.entries(all).map(([name, tensor]) => encodeTensor(name, tensor)),
    }),
  });
}
