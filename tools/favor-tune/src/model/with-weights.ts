import { DataType, makeTensor, tensorShape } from "@favor/onnx";
import type { ModelProto, TensorProto } from "@favor/onnx";

import type { NamedTensors } from "../training/stage.ts";

/**
 * Returns the model with new values for some initializers, in the same type and the same field or external file.
 * Everything else is the same object, so the same bytes are written.
 *
 * @param weights - float32 values by initializer, in the initializer's shape; written in its type.
 */
export function withWeights(model: ModelProto, weights: NamedTensors): ModelProto {
  const initializer = model.graph.initializer.map((tensor) => {
    const values = weights.get(tensor.name);
    return values === undefined ? tensor : replaced(tensor, values);
  });
  return { ...model, graph: { ...model.graph, initializer } };
}

function replaced(tensor: TensorProto, values: Float32Array): TensorProto {
  const typed = tensor.dataType === DataType.DOUBLE ? Float64Array.from(values) : values;
  const { rawData } = makeTensor(tensor.name, tensorShape(tensor).dims, tensor.dataType, typed);
  if (tensor.source !== undefined) {
    const range = {
      length: rawData.length,
      readInto: (target: Uint8Array, offset: number): void => {
        target.set(rawData.subarray(offset, offset + target.length));
      },
    };
    return { ...tensor, source: { field: tensor.source.field, range } };
  }
  // Small tensors may store their numbers in typed fields, which have their own place in the file.
  if (tensor.floatData.length > 0) return { ...tensor, floatData: [...values] };
  if (tensor.doubleData.length > 0) return { ...tensor, doubleData: [...values] };
  if (tensor.int32Data.length > 0) {
    return { ...tensor, int32Data: [...new Uint16Array(rawData.slice().buffer)] };
  }
  return { ...tensor, rawData };
}
