import { DataType, type NodeProto, type TensorProto } from "../model/proto.ts";
import { decodeTensor, isSupportedType, tensorOf, type Tensor } from "../evaluate/tensor.ts";
import { attribute } from "./node.ts";

/**
 * Constants up to this size are read when a shape, a scale or a mask may depend on them; larger ones are weights,
 * whose values stay where they are until they must change.
 */
const smallElements = 1 << 16;

/** The values of an initializer or a Constant node, if it is small and numeric; else undefined. */
export function readSmallTensor(source: NodeProto | TensorProto): Tensor | undefined {
  const tensor = "opType" in source ? constantTensor(source) : source;
  if (tensor === undefined || "data" in tensor) return tensor;
  let elements = 1;
  for (const dim of tensor.dims) elements *= dim.toNumber();
  return elements <= smallElements && isSupportedType(tensor.dataType) ? decodeTensor(tensor) : undefined;
}

function constantTensor(node: NodeProto): TensorProto | Tensor | undefined {
  if (node.opType !== "Constant") return undefined;
  const value = attribute(node, "value")?.t;
  if (value) return value;
  const int = attribute(node, "value_int");
  if (int) return tensorOf(DataType.INT64, [], [int.i.toNumber()]);
  const float = attribute(node, "value_float");
  if (float) return tensorOf(DataType.FLOAT, [], [float.f]);
  const ints = attribute(node, "value_ints")?.ints.map((i) => i.toNumber());
  if (ints) return tensorOf(DataType.INT64, [ints.length], ints);
  const floats = attribute(node, "value_floats")?.floats;
  return floats && tensorOf(DataType.FLOAT, [floats.length], floats);
}
