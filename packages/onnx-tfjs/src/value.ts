import { DataType } from "@favor/onnx";
import { type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";

/**
 * A value between nodes. On the host: integers, booleans, and floats computed only from constants, shapes and masks,
 * exact and with their ONNX type. On the device: everything that a variable or a float input takes part in, as float32
 * (or bool: comparisons), differentiable.
 */
export type Value = HostTensor | tf.Tensor;

export function isDevice(value: Value): value is tf.Tensor {
  return value instanceof tf.Tensor;
}

export function dimsOf(value: Value): readonly number[] {
  return isDevice(value) ? value.shape : value.dims;
}

/** Whether a data type is held in float32 on the device. */
export function isFloatType(dataType: number): boolean {
  return (
    dataType === DataType.FLOAT ||
    dataType === DataType.DOUBLE ||
    dataType === DataType.FLOAT16 ||
    dataType === DataType.BFLOAT16
  );
}

/** A host tensor on the device: floats as float32, booleans as bool, integers as int32 (clamped to its range). */
export function toDevice(tensor: HostTensor): tf.Tensor {
  const dims = [...tensor.dims];
  const { data, dataType } = tensor;
  // Copies: the backend may keep what it is given.
  if (isFloatType(dataType) || data instanceof Float32Array) return tf.tensor(new Float32Array(data), dims, "float32");
  if (dataType === DataType.BOOL) return tf.tensor(new Uint8Array(data), dims, "bool");
  const limit = 2 ** 31;
  return tf.tensor(
    Int32Array.from(data, (value) => Math.max(-limit, Math.min(limit - 1, value))),
    dims,
    "int32",
  );
}

/** A device tensor on the host, read synchronously, which a webgpu backend in Node cannot do. */
export function toHost(tensor: tf.Tensor): HostTensor {
  const dims = [...tensor.shape];
  const data = tensor.dataSync();
  if (tensor.dtype === "bool") return { dims, dataType: DataType.BOOL, data: new Uint8Array(data) };
  if (tensor.dtype === "int32") return { dims, dataType: DataType.INT32, data: new Int32Array(data) };
  return { dims, dataType: DataType.FLOAT, data: new Float32Array(data) };
}
