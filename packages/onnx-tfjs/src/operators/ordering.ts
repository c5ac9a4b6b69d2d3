import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import { toDevice, type Value } from "../value.ts";
import { slicesAlong } from "./axis.ts";

/** `source` with `axis` exchanged for the last one; its own inverse. */
function exchanged(source: tf.Tensor, axis: number): tf.Tensor {
  const last = source.rank - 1;
  if (axis === last || source.rank === 0) return source;
  return tf.transpose(
    source,
    source.shape.map((_, i) => (i === axis ? last : i === last ? axis : i)),
  );
}

/** Index of the largest (smallest) element along `axis`, the first of equals unless select_last_index; no gradient. */
const argExtreme =
  (sign: number) =>
  (call: OperatorCall): Value[] => {
    const source = call.device(0);
    const axis = call.axis(call.int("axis", 0), source.rank);
    const found = detached(() => {
      const signed = sign === 1 ? source : tf.neg(source);
      if (call.int("select_last_index", 0) === 0) return tf.argMax(signed, axis);
      return tf.sub(tf.scalar(source.shape[axis]! - 1, "int32"), tf.argMax(tf.reverse(signed, axis), axis));
    });
    return [call.int("keepdims", 1) !== 0 ? tf.expandDims(found, axis) : found];
  };

/** TopK of these backends, or what webgl leaves to the processor, compares by a - b: NaN for infinities of one sign. */
const sortsByDifferences = (): boolean => ["cpu", "webgl"].includes(tf.getBackend());

/** The k largest (smallest) along `axis`, differentiable, and their indices; always sorted. */
const topK = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axis = call.axis(call.int("axis", -1), source.rank);
  const k = call.has(1) ? call.scalar(1) : call.int("k", 1);
  const sorted = exchanged(source, axis);
  const length = sorted.shape.at(-1)!;
  if (!(k >= 0 && k <= length)) call.fail(`k is ${k} for ${length} elements`);
  const rows = sorted.size / length;
  const largest = call.int("largest", 1) !== 0;
  const ranked = (): tf.Tensor => tf.topk(largest ? sorted : tf.neg(sorted), k, true).indices;
  const { indices, positions } = detached(() => {
    const found = sortsByDifferences() ? exchanged(toDevice(call.evaluateOnHost()[1]!), axis) : ranked();
    const starts = tf.mul(tf.reshape(tf.range(0, rows, 1, "int32"), [rows, 1]), tf.scalar(length, "int32"));
    return { indices: found, positions: tf.add(tf.reshape(found, [rows, k]), starts) };
  });
  const values = tf.gather(tf.reshape(sorted, [sorted.size]), tf.reshape(positions, [rows * k]));
  const dims = [...sorted.shape.slice(0, -1), k];
  return [exchanged(tf.reshape(values, dims), axis), detached(() => exchanged(indices, axis))];
};

/**
 * Running sums along the last axis. Its gradient is a running sum from the end: that of tfjs is wrong for axes other than
 * the last.
 */
function runningSums(rows: tf.Tensor, exclusive: boolean, reverse: boolean): tf.Tensor {
  const sums = tf.customGrad((...parameters) => {
    const source = parameters[0] as tf.Tensor;
    return {
      value: directedSums(source, exclusive, reverse),
      gradFunc: (dy: tf.Tensor) => directedSums(dy, exclusive, !reverse),
    };
  });
  return sums(rows);
}

/** Sums from the end are those of the reversed rows: tfjs' own are wrong on webgpu. */
function directedSums(source: tf.Tensor, exclusive: boolean, reverse: boolean): tf.Tensor {
  const axis = source.rank - 1;
  if (!reverse) return tf.cumsum(source, axis, exclusive);
  return tf.reverse(tf.cumsum(tf.reverse(source, axis), axis, exclusive), axis);
}

const cumSum = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axis = call.axis(call.scalar(1), source.rank);
  const sums = runningSums(exchanged(source, axis), call.int("exclusive", 0) !== 0, call.int("reverse", 0) !== 0);
  return [exchanged(sums, axis)];
};

/** Running products along an axis, slice by slice: tfjs has no gradient for its own. */
const cumProd = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const axis = call.axis(call.scalar(1), source.rank);
  const reverse = call.int("reverse", 0) !== 0;
  const exclusive = call.int("exclusive", 0) !== 0;
  const forward = slicesAlong(source, axis);
  // The array itself is the tape's.
  const slices = reverse ? forward.toReversed() : forward;
  const products: tf.Tensor[] = [];
  let total: tf.Tensor = tf.onesLike(slices[0]!);
  for (const slice of slices) {
    if (exclusive) products.push(total);
    total = tf.mul(total, slice);
    if (!exclusive) products.push(total);
  }
  if (reverse) products.reverse();
  return [tf.stack(products, axis)];
};

/** Operators that compare or accumulate along one axis. */
export const orderingOperators: OperatorTable = {
  ArgMax: argExtreme(1),
  ArgMin: argExtreme(-1),
  TopK: topK,
  CumSum: cumSum,
  CumProd: cumProd,
};
