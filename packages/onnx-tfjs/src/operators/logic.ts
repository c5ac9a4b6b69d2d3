import { detached } from "@favor/tfjs/operations";
import { broadcastDims } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { chosen, truth } from "./choice.ts";

/** A comparison of two inputs; bool, without gradient. */
const compare = (f: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) => (call: OperatorCall) => [
  detached(() => f(call.device(0), call.device(1))),
];

/** tfjs' logical operators take booleans only, and not every backend can compare booleans. */
const combine = (f: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor) => compare((a, b) => f(truth(a), truth(b)));

const equal = compare((a, b) => tf.equal(numeric(a), numeric(b)));

/** Booleans as int32. */
const numeric = (x: tf.Tensor): tf.Tensor => (x.dtype === "bool" ? tf.cast(x, "int32") : x);

const test = (f: (x: tf.Tensor) => tf.Tensor) => (call: OperatorCall) => [detached(() => f(call.device(0)))];

const isInfinite = (call: OperatorCall): Value[] => {
  const positive = call.int("detect_positive", 1) !== 0;
  const negative = call.int("detect_negative", 1) !== 0;
  return test((x) => {
    const infinite = tf.isInf(x);
    if (positive && negative) return infinite;
    const side = positive ? tf.greater(x, 0) : tf.less(x, 0);
    return positive || negative ? tf.logicalAnd(infinite, side) : tf.zerosLike(infinite);
  })(call);
};

/** condition ? x : y, all three broadcast. */
const where = (call: OperatorCall): Value[] => {
  const [condition, x, y] = [call.device(0), call.device(1), call.device(2)];
  const dims = broadcastDims(call, broadcastDims(call, condition.shape, x.shape), y.shape);
  if (x.dtype !== "float32") return [detached(() => tf.where(truth(condition), x, y))];
  return [chosen(condition, x, y, dims)];
};

/** Comparisons, Boolean operators and choices by them. */
export const logicOperators: OperatorTable = {
  Equal: equal,
  Less: compare(tf.less),
  LessOrEqual: compare(tf.lessEqual),
  Greater: compare(tf.greater),
  GreaterOrEqual: compare(tf.greaterEqual),
  And: combine(tf.logicalAnd),
  Or: combine(tf.logicalOr),
  Xor: combine(tf.logicalXor),
  Not: test((x) => tf.logicalNot(truth(x))),
  IsNaN: test(tf.isNaN),
  IsInf: isInfinite,
  Where: where,
};
