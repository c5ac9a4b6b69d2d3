import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { slicesAlong } from "./axis.ts";

/** Axes from the attribute (before opset 18; ReduceSum 13) or input 1; none means all, or none with the flag. */
function reducedAxes(call: OperatorCall, rank: number): number[] {
  const axes = call.integersOr(1, "axes") ?? [];
  if (axes.length > 0) return [...new Set(axes.map((axis) => call.axis(axis, rank)))].toSorted((a, b) => a - b);
  return call.int("noop_with_empty_axes", 0) === 0 ? Array.from({ length: rank }, (_, axis) => axis) : [];
}

/** Sums (or the like) of the reduced axes, which `reduce` keeps as 1. */
const reduction =
  (reduce: (x: tf.Tensor, axes: number[]) => tf.Tensor, each: (x: tf.Tensor) => tf.Tensor = (x) => x) =>
  (call: OperatorCall): Value[] => {
    const source = call.device(0);
    const axes = reducedAxes(call, source.rank);
    const kept = axes.length === 0 ? each(source) : reduce(source, axes);
    if (call.int("keepdims", 1) !== 0) return [kept];
    return [
      tf.reshape(
        kept,
        source.shape.filter((_, axis) => !axes.includes(axis)),
      ),
    ];
  };

/** The result of a reduction over nothing, if one of its axes is empty: wasm kernels would leave the memory as it was. */
function ofNothing(x: tf.Tensor, axes: number[], value: number): tf.Tensor {
  return tf.add(tf.zeros(x.shape.map((dim, i) => (axes.includes(i) ? 1 : dim))), value);
}

const sum = (x: tf.Tensor, axes: number[]): tf.Tensor => {
  return x.size > 0 ? tf.sum(x, axes, true) : ofNothing(x, axes, 0);
};

/** The product of slices: it is right where factors are 0, and not every backend has the gradient of tfjs' `prod`. */
function product(x: tf.Tensor, axes: number[]): tf.Tensor {
  let result = x;
  for (const axis of axes) {
    if (result.shape[axis] === 0) return ofNothing(x, axes, 1);
    result = tf.expandDims(
      slicesAlong(result, axis).reduce((a, b) => tf.mul(a, b)),
      axis,
    );
  }
  return result;
}

/** log(sum(exp(x))), each row shifted by its maximum, on which the result does not depend. */
function logSumExp(x: tf.Tensor, axes: number[]): tf.Tensor {
  const shift = detached(() => {
    const top = largest(x, axes);
    return tf.where(tf.isFinite(top), top, tf.zerosLike(top));
  });
  return tf.add(tf.log(sum(tf.exp(tf.sub(x, shift)), axes)), shift);
}

/** sqrt(sum(x^2)), whose gradient is x / norm and 0 at the origin, where that of the square root is infinite. */
function euclideanNorm(x: tf.Tensor, axes: number[]): tf.Tensor {
  const norm = tf.customGrad((...parameters) => {
    const [source, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    const value = tf.sqrt(sum(tf.square(source), axes));
    save([source, value]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.mul(tf.divNoNan(dy, saved[1]!), saved[0]!),
    };
  });
  return norm(x);
}

const largest = (x: tf.Tensor, axes: number[]): tf.Tensor => {
  return x.size > 0 ? tf.max(x, axes, true) : ofNothing(x, axes, -Infinity);
};

const smallest = (x: tf.Tensor, axes: number[]): tf.Tensor => tf.neg(largest(tf.neg(x), axes));

/** Reductions over axes. */
export const reductionOperators: OperatorTable = {
  ReduceSum: reduction(sum),
  ReduceMean: reduction((x, axes) => tf.mean(x, axes, true)),
  ReduceProd: reduction(product),
  ReduceMax: reduction(largest),
  ReduceMin: reduction(smallest),
  ReduceL1: reduction((x, axes) => sum(tf.abs(x), axes), tf.abs),
  ReduceL2: reduction(euclideanNorm, tf.abs),
  ReduceSumSquare: reduction((x, axes) => sum(tf.square(x), axes), tf.square),
  ReduceLogSum: reduction((x, axes) => tf.log(sum(x, axes)), tf.log),
  ReduceLogSumExp: reduction(logSumExp),
};
