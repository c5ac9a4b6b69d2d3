import type { InferenceSession, Tensor } from "onnxruntime-node";

import { DataType } from "@favor/onnx";
import { onnxruntime } from "@favor/measure/onnxruntime";
import type { NpyArray } from "@favor/test-support/zoo/npz";

export type Feeds = Readonly<Record<string, Tensor>>;

/** Opens a model on one thread, unoptimised: rounding is then that of the graph as it is written. */
export function openSession(model: Uint8Array): Promise<InferenceSession> {
  return onnxruntime.InferenceSession.create(model, {
    logSeverityLevel: 4,
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
  });
}

/** onnxruntime's names of the types that samples and values have. */
export const onnxTypes: ReadonlyMap<string, number> = new Map([
  ["float32", DataType.FLOAT],
  ["float16", DataType.FLOAT16],
  ["int64", DataType.INT64],
  ["int32", DataType.INT32],
  ["bool", DataType.BOOL],
]);

export function tensorOf({ dims, dataType, bytes }: NpyArray): Tensor {
  return tensorOfNumbers(dataType, dims, numbersOf({ dims, dataType, bytes }));
}

/** The elements of an array of a sample. */
export function numbersOf({ dataType, bytes }: NpyArray): number[] {
  const { buffer } = Uint8Array.from(bytes);
  switch (dataType) {
    case DataType.FLOAT:
      return [...new Float32Array(buffer)];
    case DataType.INT64:
      return Array.from(new BigInt64Array(buffer), Number);
    case DataType.INT32:
      return [...new Int32Array(buffer)];
    case DataType.BOOL:
      return [...new Uint8Array(buffer)];
    default:
      throw new Error(`No sample has data type ${dataType}.`);
  }
}

export function tensorOfNumbers(dataType: number, dims: readonly number[], values: readonly number[]): Tensor {
  switch (dataType) {
    case DataType.FLOAT:
      return new onnxruntime.Tensor("float32", Float32Array.from(values), dims);
    case DataType.INT64:
      return new onnxruntime.Tensor("int64", BigInt64Array.from(values, BigInt), dims);
    case DataType.INT32:
      return new onnxruntime.Tensor("int32", Int32Array.from(values), dims);
    case DataType.BOOL:
      return new onnxruntime.Tensor("bool", Uint8Array.from(values), dims);
    default:
      throw new Error(`No sample has data type ${dataType}.`);
  }
}

/** The elements of a tensor of onnxruntime as numbers. */
export function numbersOfTensor({ data }: Tensor): number[] {
  return Array.from(data as ArrayLike<number | bigint>, Number);
}
