import { DataType, tensorOf } from "@favor/onnx";
import * as tf from "@tensorflow/tfjs";
import { shown, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";

/** `source` in another shape of as many elements. */
export function reshaped(call: OperatorCall, source: tf.Tensor, dims: readonly number[]): tf.Tensor {
  if (tf.util.sizeFromShape([...dims]) !== source.size || dims.some((dim) => !(Number.isInteger(dim) && dim >= 0))) {
    call.fail(`a tensor of shape ${shown(source.shape)} cannot have the shape ${shown(dims)}`);
  }
  return tf.reshape(source, [...dims]);
}

/** The shape that two shapes broadcast to, or an error. */
export function broadcastDims(call: OperatorCall, a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const left = a[i - rank + a.length] ?? 1;
    const right = b[i - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) call.fail(`${shown(a)} and ${shown(b)} do not broadcast`);
    return left === 1 ? right : left;
  });
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

/** f(a, b) elementwise, broadcast. Beyond 6 axes, those that broadcast alike count as one. */
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

const identity = (call: OperatorCall): Value[] => [call.input(0)];

/** Dimensions from `start` to `end` (opset 15; both clamped), as int64. */
const shape = (call: OperatorCall): Value[] => {
  const dims = call.dims(0);
  const clamp = (at: number): number => Math.min(Math.max(at < 0 ? at + dims.length : at, 0), dims.length);
  const part = dims.slice(clamp(call.int("start", 0)), clamp(call.int("end", dims.length)));
  return [tensorOf(DataType.INT64, [part.length], part)];
};

const size = (call: OperatorCall): Value[] => [
  tensorOf(DataType.INT64, [], [tf.util.sizeFromShape([...call.dims(0)])]),
];

/** 0 copies the input's dimension unless `allowzero`; -1 takes what is left. */
const reshape = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const target = call.integersOr(1, "shape") ?? call.fail("the target shape is required");
  const copiesZero = call.int("allowzero", 0) === 0;
  const dims = target.map((dim, i) =>
    dim === 0 && copiesZero
      ? (source.shape[i] ?? call.fail(`dimension ${i} of ${shown(target)} has nothing to copy`))
      : dim,
  );
  const open = dims.indexOf(-1);
  if (open >= 0) {
    const known = tf.util.sizeFromShape(dims.filter((_, i) => i !== open));
    dims[open] = known === 0 ? 0 : source.size / known;
  }
  return [reshaped(call, source, dims)];
};

/** To a matrix: what precedes `axis`, and the rest. */
const flatten = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axis = call.axis(call.int("axis", 1), source.rank, true);
  const rows = tf.util.sizeFromShape(source.shape.slice(0, axis));
  const columns = tf.util.sizeFromShape(source.shape.slice(axis));
  return [reshaped(call, source, [rows, columns])];
};

/** Axes are an attribute before opset 13, an input since; without them every dimension of 1 goes. */
const squeeze = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axes = call.integersOr(1, "axes")?.map((axis) => call.axis(axis, source.rank));
  const dims = source.shape.filter((dim, i) => (axes === undefined ? dim !== 1 : !axes.includes(i)));
  return [reshaped(call, source, dims)];
};

const unsqueeze = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const given = call.integersOr(1, "axes") ?? call.fail("the axes are required");
  const rank = source.rank + given.length;
  const axes = new Set(given.map((axis) => call.axis(axis, rank)));
  if (axes.size !== given.length) call.fail(`axes ${shown(given)} name one twice`);
  const rest = source.shape.values();
  return [
    reshaped(
      call,
      source,
      Array.from({ length: rank }, (_, i) => (axes.has(i) ? 1 : rest.next().value!)),
    ),
  ];
};

/** Broadcasts both ways: a dimension of 1 in the target keeps the input's. */
const expand = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const target = call.integers(1) ?? call.fail("the target shape is required");
  return [expanded(source, broadcastDims(call, source.shape, target))];
};

/** Operators that read or change the shape alone. */
export const shapeOperators: OperatorTable = {
  Identity: identity,
  Shape: shape,
  Size: size,
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Expand: expand,
};
