import { DataType, type NodeProto, type TensorProto } from "../model/proto.ts";
import { isSupportedType, tensorOf, type Tensor } from "../evaluate/tensor.ts";
import { tensorValues } from "../model/tensor.ts";
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
  return elements <= smallElements ? readTensor(tensor) : undefined;
}

/**
 * The values of a tensor as the evaluator holds them, wherever they lie; undefined for types that it does not hold.
 *
 * @throws OnnxError if the data does not fit the shape or cannot be read
 */
export function readTensor(tensor: TensorProto): Tensor | undefined {
  if (!isSupportedType(tensor.dataType)) return undefined;
  const { dims, dataType, data } = tensorValues(tensor);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) {
    return tensorOf(dataType, dims, Array.from(data as ArrayLike<bigint>, Number));
  }
  return tensorOf(dataType, dims, data);
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
