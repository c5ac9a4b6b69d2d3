import { createMessage, DataType } from "@favor/onnx";
import { evaluateNode, tensorOf, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { hostLimits, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { dimsOf, type Value } from "../value.ts";

/** start, start + 1, ... in the shape `dims`. */
function counting(dims: readonly number[], start: number): HostTensor {
  const count = tf.util.sizeFromShape([...dims]);
  return tensorOf(
    DataType.INT64,
    dims,
    Float64Array.from({ length: count }, (_, i) => start + i),
  );
}

const flat = (x: tf.Tensor): tf.Tensor1D => tf.reshape(x, [x.size]);

/**
 * Writing as reading: the operator itself, run on the host on positions instead of values, says which element of the
 * data or of the updates each output is. If several updates go to one place, the last one counts, as on the host.
 */
function written(call: OperatorCall, updates: number, others: readonly (HostTensor | null)[]): tf.Tensor {
  const [dataDims, updateDims] = [call.dims(0), call.dims(updates)];
  const size = tf.util.sizeFromShape([...dataDims]);
  const inputs = [counting(dataDims, 0), ...others];
  inputs[updates] = counting(updateDims, size);
  const [origin] = evaluateNode(call.node, inputs, { opsets: call.context.opset, limits: hostLimits });
  const candidates = tf.concat([flat(call.device(0)), flat(call.device(updates))]);
  return tf.reshape(tf.gather(candidates, tf.tensor1d(Int32Array.from(origin!.data), "int32")), [...dataDims]);
}

/** Data with the updates added at the places that `reader`, the operator's counterpart, reads. */
function added(call: OperatorCall, reader: string): tf.Tensor {
  const dims = call.dims(0);
  const node = createMessage("NodeProto", {
    opType: reader,
    input: ["data", "indices"],
    output: ["positions"],
    attribute: call.node.attribute.filter(({ name }) => name === "axis"),
  });
  const [positions] = evaluateNode(node, [counting(dims, 0), call.host(1)], {
    opsets: call.context.opset,
    limits: hostLimits,
  });
  const places = tf.tensor1d(Int32Array.from(positions!.data), "int32");
  const sums = tf.unsortedSegmentSum(flat(call.device(2)), places, tf.util.sizeFromShape([...dims]));
  return tf.add(call.device(0), tf.reshape(sums, [...dims]));
}

/** output[indices] = updates, or += updates (opset 16), for indices that `reader` reads with. */
const scatter =
  (reader: string) =>
  (call: OperatorCall): Value[] => {
    const reduction = call.string("reduction", "none");
    if (reduction === "none") return [written(call, 2, [call.host(1)])];
    if (reduction !== "add") throw call.unsupported(`reduction ${reduction} does not run`);
    if (dimsOf(call.input(0)).length === 0) call.fail("its data is a scalar");
    return [added(call, reader)];
  };

/** Opset 24: writes an update into a cache along an axis, at write_indices[batch]. */
const tensorScatter = (call: OperatorCall): Value[] => [
  written(call, 1, call.has(2) ? [null, call.host(2)] : [null, null]),
];

/** Operators that write into a copy of their input. */
export const scatteringOperators: OperatorTable = {
  Scatter: scatter("GatherElements"),
  ScatterElements: scatter("GatherElements"),
  ScatterND: scatter("GatherND"),
  TensorScatter: tensorScatter,
};
