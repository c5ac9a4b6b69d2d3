import { DataType } from "@favor/onnx";
import { evaluateNode, type Tensor as HostTensor } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { hostLimits, type Operator, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import { sliceAxis } from "./axis.ts";

/** The elements of a tensor of that shape, numbered. */
function numbered(dims: readonly number[]): HostTensor {
  const count = tf.util.sizeFromShape([...dims]);
  return { dims, dataType: DataType.INT64, data: Float64Array.from({ length: count }, (_, i) => i) };
}

/**
 * What an operator makes that only picks elements of its first input, by the values of its other inputs. The host's
 * evaluator picks among the elements' numbers, the device gathers by them.
 *
 * @param rank how many leading axes are picked from; what lies inside of them moves as a whole. Default: all
 */
export function pickedElements(call: OperatorCall, rank?: number): tf.Tensor {
  const source = call.device(0);
  const outer = source.shape.slice(0, rank ?? source.rank);
  const inner = source.shape.slice(outer.length);
  const inputs = call.inputs.map((value, i) => (i === 0 ? numbered(outer) : value && call.onHost(value)));
  const [found] = evaluateNode(call.node, inputs, { opsets: call.context.opset, limits: hostLimits });
  const { dims, data } = found!;
  const rows = tf.reshape(source, [tf.util.sizeFromShape(outer), ...inner]);
  return tf.reshape(tf.gather(rows, tf.tensor1d(Int32Array.from(data), "int32")), [...dims, ...inner]);
}

/** output[a, i, b] = source[a, indices[i], b]; neighbouring indices, and a single one, are a slice. */
const gather: Operator = (call) => {
  const source = call.device(0);
  const { dims, data } = call.host(1);
  const axis = call.axis(call.int("axis", 0), source.rank);
  const length = source.shape[axis]!;
  const indices = Int32Array.from(data, (index) => (index < 0 ? index + length : index));
  const outside = indices.findIndex((index) => !(index >= 0 && index < length));
  if (outside >= 0) call.fail(`index ${data[outside]} is out of bounds for ${length} elements`);
  const before = source.shape.slice(0, axis);
  const after = source.shape.slice(axis + 1);
  const first = indices[0] ?? 0;
  const consecutive = indices.length > 0 && indices.every((index, i) => index === first + i);
  const picked = consecutive
    ? sliceAxis(source, axis, first, indices.length)
    : tf.gather(source, tf.tensor1d(indices, "int32"), axis);
  return [tf.reshape(picked, [...before, ...dims, ...after])];
};

const gatherNd: Operator = (call) => {
  const depth = call.dims(1).at(-1) ?? call.fail("indices must have at least one dimension");
  return [pickedElements(call, call.int("batch_dims", 0) + depth)];
};

/** The slices along `axis` (all elements, flattened, without it) where the condition is true. */
const compress: Operator = (call) => [pickedElements(call)];

/** Operators that pick elements by index or condition. */
export const gatheringOperators: OperatorTable = {
  Gather: gather,
  GatherElements: (call) => [pickedElements(call)],
  GatherND: gatherNd,
  Compress: compress,
  // Indices of elements that are not 0: nothing to differentiate.
  NonZero: (call) => call.evaluateOnHost(),
};
