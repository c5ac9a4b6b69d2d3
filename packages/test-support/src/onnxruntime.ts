import Long from "long";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { DataType } from "@favor/onnx";
import { createMessage } from "@favor/onnx";
import { tensorValues } from "@favor/onnx";
import { sharedZoo } from "./zoo/folder.ts";
import { tensorOf } from "./zoo/sample.ts";
import type { ZooEntry } from "./zoo/manifest.ts";
import { readNpz } from "./zoo/npz.ts";

export type Feeds = Record<string, Tensor>;

/** Opens a model in onnxruntime; errors are thrown, and need not be printed as well. */
export function openSession(model: string | Uint8Array): Promise<InferenceSession> {
  const options: InferenceSession.SessionOptions = {
    logSeverityLevel: 4,
    // Small models: opening them would take longer than running them.
    graphOptimizationLevel: "disabled",
    intraOpNumThreads: 1,
  };
  return typeof model === "string" ? InferenceSession.create(model, options) : InferenceSession.create(model, options);
}

/** The inputs of every sample of a zoo entry. */
export function sampleFeeds(entry: ZooEntry): Feeds[] {
  return entry.samples.map((sample) => {
    const arrays = [...readNpz(sharedZoo.read(sample))].filter(([name]) => name.startsWith("in."));
    return Object.fromEntries(arrays.map(([name, array]) => [name.slice(3), tensorOf(array)]));
  });
}

/** Two rows of `length` tokens without padding, whatever the inputs are called. */
export function longFeeds(entry: ZooEntry, length: number, token: (position: number) => number): Feeds {
  const feeds = entry.inputs.map(({ name, elem_type, shape }): [string, Tensor] => {
    const dims = shape!.map((dim, axis) => (typeof dim === "number" ? dim : axis === 0 ? 2 : length));
    const count = dims.reduce((product, dim) => product * dim, 1);
    const isIds = /ids$|tokens$|input$|^ids/.test(name) && !/type|segment/.test(name);
    const value = (i: number): number => {
      if (isIds || entry.inputs.length === 1) return token(i % length);
      return /type|segment/.test(name) ? 0 : 1;
    };
    const values = Array.from({ length: count }, (_, i) => value(i));
    return [name, feedOf(elem_type, values, dims)];
  });
  return Object.fromEntries(feeds);
}

/** An input of an ONNX data type: int64, int32, bool, or else float32. */
export function feedOf(dataType: number, values: readonly number[], dims: readonly number[]): Tensor {
  switch (dataType) {
    case DataType.INT64:
      return new Tensor("int64", BigInt64Array.from(values, BigInt), dims);
    case DataType.INT32:
      return new Tensor("int32", Int32Array.from(values), dims);
    case DataType.BOOL:
      return new Tensor("bool", Uint8Array.from(values), dims);
    default:
      return new Tensor("float32", Float32Array.from(values), dims);
  }
}

/** The floating-point outputs of a run by name. */
export async function floatOutputs(session: InferenceSession, feeds: Feeds): Promise<Map<string, Float32Array>> {
  const outputs = await session.run(feeds);
  return new Map(
    Object.entries(outputs).flatMap(([name, { data, type }]): [string, Float32Array][] => {
      if (type === "float16") return [[name, float32Of(data as ArrayBufferView)]];
      return data instanceof Float32Array ? [[name, data]] : [];
    }),
  );
}

export function largestDifference(a: ReadonlyMap<string, Float32Array>, b: ReadonlyMap<string, Float32Array>): number {
  let largest = 0;
  for (const [name, values] of a) {
    const others = b.get(name)!;
    if (others.length !== values.length) return Infinity;
    for (let i = 0; i < values.length; i++) {
      const difference = Math.abs(values[i]! - others[i]!);
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}

/** float16 comes as Uint16Array, or as Float16Array from the JavaScript engines that have it. */
function float32Of({ buffer, byteOffset, byteLength }: ArrayBufferView): Float32Array {
  const rawData = new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
  const dims = [Long.fromNumber(byteLength / 2)];
  const { data } = tensorValues(createMessage("TensorProto", { dims, dataType: DataType.FLOAT16, rawData }));
  return data as Float32Array;
}
