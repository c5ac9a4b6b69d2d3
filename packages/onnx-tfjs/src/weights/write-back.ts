import { DataType, makeTensor, readRange, type ByteRange, type ModelProto, type TensorProto } from "@favor/onnx";
import { decodeTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { VariableError } from "../errors.ts";

/**
 * The model with the variables' values in place of their initializers: same type, and in the field or file where the
 * old ones are. A tensor whose variable was not changed is the very same object, and so is everything else. New values
 * of a tensor that is still in its file are read from the device when the result is written, one tensor at a time; those
 * of others are copied now.
 */
export function withVariables(model: ModelProto, variables: ReadonlyMap<string, tf.Variable>): ModelProto {
  const initializer = model.graph.initializer.map((tensor) => {
    const variable = variables.get(tensor.name);
    return variable === undefined || isUnchanged(tensor, variable) ? tensor : replaced(tensor, variable);
  });
  return { ...model, graph: { ...model.graph, initializer } };
}

function isUnchanged(tensor: TensorProto, variable: tf.Variable): boolean {
  const now = bits(valuesOf(tensor, variable));
  const before = bits(new Float32Array(decodeTensor(tensor).data));
  return now.every((word, i) => word === before[i]);
}

function valuesOf({ name }: TensorProto, variable: tf.Variable): Float32Array {
  try {
    return variable.dataSync() as Float32Array;
  } catch (error) {
    throw new VariableError(
      name,
      `the ${tf.getBackend()} backend cannot read it at once: await download() first`,
      error,
    );
  }
}

/** Compares bits: -0 and NaN are values like any other. */
function bits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

function replaced(tensor: TensorProto, variable: tf.Variable): TensorProto {
  if (tensor.source !== undefined) {
    const { field, range } = tensor.source;
    return { ...tensor, source: { field, range: variableRange(tensor, variable, range.length) } };
  }
  const bytes = variableBytes(tensor, variable);
  if (tensor.floatData.length > 0) return { ...tensor, floatData: [...new Float32Array(bytes.buffer)] };
  if (tensor.doubleData.length > 0) return { ...tensor, doubleData: [...new Float64Array(bytes.buffer)] };
  if (tensor.int32Data.length > 0) return { ...tensor, int32Data: [...new Uint16Array(bytes.buffer)] };
  return { ...tensor, rawData: bytes };
}

/** The variable's values in the tensor's type, little-endian, in a buffer of their own. */
function variableBytes(tensor: TensorProto, variable: tf.Variable): Uint8Array {
  const values = valuesOf(tensor, variable);
  const data = tensor.dataType === DataType.DOUBLE ? new Float64Array(values) : new Float32Array(values);
  return makeTensor(tensor.name, variable.shape, tensor.dataType, data).rawData;
}

/** The bytes, made when they are first read and released after the last. */
function variableRange(tensor: TensorProto, variable: tf.Variable, length: number): ByteRange {
  let made: Uint8Array | undefined;
  return {
    length,
    readInto: (target, offset) => {
      const bytes = made ?? variableBytes(tensor, variable);
      target.set(bytes.subarray(offset, offset + target.length));
      made = offset + target.length < length ? bytes : undefined;
    },
  };
}

/**
 * A file of external data with the new values of `updated` in place of those of `original`; all other bytes as they are.
 */
export function externalFile(file: ByteRange, location: string, original: ModelProto, updated: ModelProto): Uint8Array {
  const bytes = readRange(file);
  for (const [i, tensor] of updated.graph.initializer.entries()) {
    if (tensor === original.graph.initializer[i] || tensor.source?.field !== "externalData") continue;
    const entry = (key: string): string | undefined =>
      tensor.externalData.find((candidate) => candidate.key === key)?.value;
    if (entry("location") === location) bytes.set(readRange(tensor.source.range), Number(entry("offset") ?? 0));
  }
  return bytes;
}
