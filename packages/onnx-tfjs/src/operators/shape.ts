import { DataType } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import {
  broadcastDims,
  checkReshape,
  expandedDims,
  flattenedDims,
  reshapedDims,
  shapeOf,
  squeezedDims,
  unsqueezedDims,
} from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";

/** `source` in another shape of as many elements. */
export function reshaped(call: OperatorCall, source: tf.Tensor, dims: readonly number[]): tf.Tensor {
  checkReshape(call, source.shape, dims);
  return tf.reshape(source, [...dims]);
}

/**
 * `source` repeated along axes of 1 (and new ones in front) to the shape `dims`, which it broadcasts to. Neighbouring axes
 * that are all repeated, or all not, count as one: webgpu tiles on the host from five axes on.
 */
export function expanded(source: tf.Tensor, dims: readonly number[]): tf.Tensor {
  if (tf.util.arraysEqual(source.shape, [...dims])) return source;
  const [merged, reps]: [number[], number[]] = [[], []];
  let before: boolean | undefined;
  for (const [i, dim] of dims.entries()) {
    if (dim === 1) continue;
    const repeated = (source.shape[i - dims.length + source.rank] ?? 1) === 1;
    const group = dim * (repeated === before ? merged.pop()! * reps.pop()! : 1);
    merged.push(repeated ? 1 : group);
    reps.push(repeated ? group : 1);
    before = repeated;
  }
  const shaped = tf.reshape(source, merged);
  return tf.reshape(reps.every((rep) => rep === 1) ? shaped : tf.tile(shaped, reps), [...dims]);
}

/** What every backend can broadcast, wasm without a word about what it cannot. */
const mostAxes = 6;

/** f(a, b) elementwise, broadcast. Beyond 6 axes, neighbours that broadcast in the same way count as one. */
export function elementwise(
  call: OperatorCall,
  a: tf.Tensor,
  b: tf.Tensor,
  f: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor,
): tf.Tensor {
  if (Math.max(a.rank, b.rank) <= mostAxes) return f(a, b);
  const dims = broadcastDims(call, a.shape, b.shape);
  const [left, right]: [number[], number[]] = [[], []];
  let before = "";
  for (const [i, dim] of dims.entries()) {
    if (dim === 1) continue;
    const [own, other] = [a.shape[i - dims.length + a.rank] ?? 1, b.shape[i - dims.length + b.rank] ?? 1];
    const form = `${own === 1} ${other === 1}`;
    left.push(own * (form === before ? left.pop()! : 1));
    right.push(other * (form === before ? right.pop()! : 1));
    before = form;
  }
  return tf.reshape(f(tf.reshape(a, left), tf.reshape(b, right)), dims);
}

/** An operator that gives its input another shape. */
const reshaping =
  (dimsOf: (call: OperatorCall, dims: readonly number[]) => readonly number[]) =>
  (call: OperatorCall): Value[] => {
    const source = call.device(0);
    return [reshaped(call, source, dimsOf(call, source.shape))];
  };

const identity = (call: OperatorCall): Value[] => [call.input(0)];

/** As int64, on the host. */
const shape = (call: OperatorCall): Value[] => {
  const dims = shapeOf(call, call.dims(0));
  return [tensorOf(DataType.INT64, [dims.length], dims)];
};

const size = (call: OperatorCall): Value[] => [
  tensorOf(DataType.INT64, [], [tf.util.sizeFromShape([...call.dims(0)])]),
];

const expand = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  return [expanded(source, expandedDims(call, source.shape))];
};

/** Operators that read or change the shape alone. */
export const shapeOperators: OperatorTable = {
  Identity: identity,
  Shape: shape,
  Size: size,
  Reshape: reshaping(reshapedDims),
  Flatten: reshaping(flattenedDims),
  Squeeze: reshaping(squeezedDims),
  Unsqueeze: reshaping(unsqueezedDims),
  Expand: expand,
};
