import { DataType, type ValueInfoProto } from "@favor/onnx";
import { tensorOf, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { FeedError } from "./errors.ts";
import { isDevice, isFloatType, toHost, type Value } from "./value.ts";

/** A graph input or output. */
export interface ValueInfo {
  readonly name: string;
  /** A value of ONNX's `DataType`; 0 if the file does not say. */
  readonly dataType: number;
  /** A number, the name of a dimension, or null for one of neither; undefined: the rank is not known either. */
  readonly shape: readonly (number | string | null)[] | undefined;
}

/** What a value may be fed as: a tensor of tfjs (int32 for int64), of `@favor/onnx`, or numbers and their shape. */
export type Feed =
  | tf.Tensor
  | HostTensor
  | {
      readonly dims: readonly number[];
      readonly data: ArrayLike<number> | BigInt64Array | BigUint64Array;
    };

export function valueInfo(proto: ValueInfoProto): ValueInfo {
  const type = proto.type?.tensorType;
  return {
    name: proto.name,
    dataType: type?.elemType ?? 0,
    shape: type?.shape?.dim.map((dim) => dim.dimValue?.toNumber() ?? dim.dimParam ?? null),
  };
}

/**
 * A feed as a value: floats go to the device, everything else to the host in the input's type.
 *
 * @param declared what the graph says about that name, if it does
 * @param upload makes the device tensor of a host tensor
 * @throws FeedError if rank, shape or kind are not those that the model declares
 */
export function feedValue(
  name: string,
  feed: Feed,
  declared: ValueInfo | undefined,
  upload: (tensor: HostTensor) => tf.Tensor,
): Value {
  requireFeed(name, feed);
  const dims = feed instanceof tf.Tensor ? feed.shape : feed.dims;
  if (declared !== undefined) checkShape(declared, dims);
  const dataType = declared?.dataType ?? 0;
  if (feed instanceof tf.Tensor && feed.dtype === "float32") {
    if (dataType !== 0 && !isFloatType(dataType)) {
      throw new FeedError(name, `integers or booleans (ONNX data type ${dataType})`, "a float32 tensor");
    }
    return feed;
  }
  const tensor = hostFeed(name, feed, dataType);
  return isFloatType(tensor.dataType) ? upload(tensor) : tensor;
}

/** Plain JavaScript may feed a text, an array or nothing. */
function requireFeed(name: string, feed: Feed): void {
  const given: unknown = feed;
  if (given instanceof tf.Tensor) return;
  const isObject = typeof given === "object" && given !== null;
  if (isObject && "dims" in given && "data" in given) return;
  const found = isObject ? "an object without them" : typeof given === "string" ? JSON.stringify(given) : String(given);
  throw new FeedError(name, "a tensor, or { dims, data }", found);
}

function hostFeed(name: string, feed: Feed, dataType: number): HostTensor {
  if (isTensorOfOnnx(feed)) {
    return dataType === 0 || feed.dataType === dataType ? feed : hostFeed(name, { ...feed, data: feed.data }, dataType);
  }
  if (feed instanceof tf.Tensor) {
    const held = toHost(feed);
    // tfjs has no int64: an integer without a declared type is an id or a position.
    const type = dataType || (held.dataType === DataType.INT32 ? DataType.INT64 : held.dataType);
    return tensorOf(type, held.dims, held.data);
  }
  const { dims, data } = feed;
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (count !== data.length)
    throw new FeedError(name, `${count} elements for shape [${dims.join(", ")}]`, `${data.length}`);
  const wide = data instanceof BigInt64Array || data instanceof BigUint64Array;
  const values = wide ? Float64Array.from(data, Number) : data;
  return tensorOf(dataType || naturalType(data), dims, values);
}

function isTensorOfOnnx(feed: Feed): feed is HostTensor {
  return !isDevice(feed as Value) && "dataType" in feed;
}

/** The type of a feed whose type the graph does not declare. */
function naturalType(data: ArrayLike<number> | BigInt64Array | BigUint64Array): number {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return DataType.INT64;
  if (data instanceof Int32Array) return DataType.INT32;
  if (data instanceof Uint8Array) return DataType.UINT8;
  return DataType.FLOAT;
}

function checkShape({ name, shape }: ValueInfo, dims: readonly number[]): void {
  if (shape === undefined) return;
  const fits = shape.length === dims.length && shape.every((dim, i) => typeof dim !== "number" || dim === dims[i]);
  if (!fits)
    throw new FeedError(name, `the shape [${shape.map((dim) => dim ?? "?").join(", ")}]`, `[${dims.join(", ")}]`);
}
