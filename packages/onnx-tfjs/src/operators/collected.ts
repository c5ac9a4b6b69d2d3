import { DataType, type GraphProto } from "@favor/onnx";
import { tensorOf, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";
import { dimsOf, isDevice, type Value } from "../value.ts";

/** Values of one shape, joined along a new axis. */
export function stacked(call: OperatorCall, parts: readonly Value[], axis: number): Value {
  const first = dimsOf(parts[0]!);
  if (parts.some((part) => !tf.util.arraysEqual([...dimsOf(part)], [...first]))) {
    call.fail(`its steps give values of different shapes, ${shown(first)} the first`);
  }
  if (parts.some(isDevice)) {
    return tf.stack(
      parts.map((part) => call.onDevice(part)),
      axis,
    );
  }
  return stackedOnHost(parts as readonly HostTensor[], axis);
}

function stackedOnHost(parts: readonly HostTensor[], axis: number): HostTensor {
  const { dims, dataType } = parts[0]!;
  const inner = tf.util.sizeFromShape(dims.slice(axis));
  const outer = tf.util.sizeFromShape(dims.slice(0, axis));
  const values = new Float64Array(outer * parts.length * inner);
  for (const [i, { data }] of parts.entries()) {
    for (let block = 0; block < outer; block++) {
      values.set(data.subarray(block * inner, (block + 1) * inner), (block * parts.length + i) * inner);
    }
  }
  return tensorOf(dataType, [...dims.slice(0, axis), parts.length, ...dims.slice(axis)], values);
}

/** What a loop without iterations collects: no rows, of the shape that the body declares. */
export function nothingCollected(body: GraphProto, output: number): HostTensor {
  const type = body.output[output]?.type?.tensorType;
  const dims = [0, ...(type?.shape?.dim ?? []).map((dim) => dim.dimValue?.toNumber() ?? 0)];
  return tensorOf(type?.elemType || DataType.FLOAT, dims, []);
}
