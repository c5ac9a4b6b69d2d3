import { ArgumentError } from "@favor/core";
import { DataType, makeTensor, tensorValues } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import type { Feed } from "@favor/onnx-tfjs";
import type { Tensor } from "onnxruntime-node";

/** A value of onnxruntime, to feed into a model on tfjs. */
export function feedOf(tensor: Tensor): Feed {
  const { type, dims, data } = tensor;
  if (type === "bool") return tensorOf(DataType.BOOL, [...dims], data as Uint8Array);
  if (data instanceof BigInt64Array || data instanceof Int32Array) return { dims, data };
  return { dims, data: floatsOf(tensor) };
}

/** The numbers of a float32 or float16 tensor of onnxruntime. */
export function floatsOf({ type, dims, data }: Tensor): Float32Array {
  if (data instanceof Float32Array) return data;
  if (type !== "float16") throw new ArgumentError("tensor", "float32, float16, bool or integers", type);
  const bits = data as Uint16Array;
  const values = tensorValues(
    makeTensor("", dims, DataType.FLOAT16, new Uint16Array(bits.buffer, bits.byteOffset, bits.length)),
  );
  return values.data as Float32Array;
}
