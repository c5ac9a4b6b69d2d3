import { broadcastDims } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator, OperatorCall, OperatorTable } from "../operator-call.ts";
import { dimsOf, isDevice, isFloatType, type Value } from "../value.ts";
import { atLeast, atMost, extremeOf } from "./bounds.ts";
import { differentiable } from "./differentiable.ts";
import { quotient, reciprocal } from "./division.ts";
import { acosh, asinh, atanh, cosh, sinh } from "./hyperbolic.ts";
import { modulo } from "./modulo.ts";
import { inverseRootPower, power, rootPower } from "./power.ts";
import { elementwise, expanded } from "./shape.ts";

type Binary = (a: tf.Tensor, b: tf.Tensor) => tf.Tensor;

const binary =
  (f: Binary): Operator =>
  (call) => [elementwise(call, call.device(0), call.device(1), f)];

const unary =
  (f: (x: tf.Tensor) => tf.Tensor): Operator =>
  (call) => [f(call.device(0))];

/** Both operands in the shape that they broadcast to: for kernels whose gradient does not undo broadcasting. */
function broadcastPair(call: OperatorCall, a: tf.Tensor, b: tf.Tensor): [tf.Tensor, tf.Tensor] {
  const dims = broadcastDims(call, a.shape, b.shape);
  return [expanded(a, dims), expanded(b, dims)];
}

/** The value of a host input that holds a single one and adds no axis to `other`: a bound. */
function bound(value: Value, other: Value): number | undefined {
  if (isDevice(value) || value.data.length !== 1 || value.dims.length > dimsOf(other).length) return undefined;
  return value.data[0];
}

/** The largest (smallest) of any number of inputs, each broadcast to the others. */
const extreme =
  (f: typeof tf.maximum, within: (x: tf.Tensor, limit: number) => tf.Tensor): Operator =>
  (call) => {
    const present = call.inputs.filter((input) => input !== null);
    if (present.length === 0) call.fail("at least one input is required");
    const result = present.reduce((a, b) => {
      const [left, right] = [bound(a, b), bound(b, a)];
      if (right !== undefined) return within(call.onDevice(a), right);
      if (left !== undefined) return within(call.onDevice(b), left);
      return extremeOf(f, ...broadcastPair(call, call.onDevice(a), call.onDevice(b)));
    });
    return [result];
  };

/** The sum (mean) of any number of inputs, two at a time: AddN of many is wrong on webgpu. */
const variadicSum =
  (mean: boolean): Operator =>
  (call) => {
    const inputs = call.variadic();
    const total = inputs.reduce((a, b) => elementwise(call, a, b, tf.add));
    return [mean ? tf.div(total, inputs.length) : total];
  };

/** Powers that exporters write for squares and roots: exact, and right for negative bases on every backend. */
const powers: ReadonlyMap<number, (x: tf.Tensor) => tf.Tensor> = new Map([
  [1, (x) => x],
  [2, (x) => tf.square(x)],
  [3, (x) => tf.mul(x, tf.square(x))],
  [0.5, rootPower],
  [-0.5, inverseRootPower],
  [-1, reciprocal],
]);

/** Powers of integers are truncated to integers, on the host. */
const raised: Operator = (call) => {
  const base = call.input(0);
  if (isDevice(base) ? base.dtype === "int32" : !isFloatType(base.dataType)) return call.evaluateOnHost();
  const exponent = call.input(1);
  const known = powers.get(bound(exponent, base) ?? Number.NaN);
  if (known !== undefined) return [known(call.device(0))];
  const [x, y] = [call.device(0), tf.cast(call.onDevice(exponent), "float32")];
  return [power(...broadcastPair(call, x, y))];
};

/** A divisor that is one number, neither 0 nor infinite, needs no care. */
const divided: Operator = (call) => {
  const divisor = bound(call.input(1), call.input(0)) ?? 0;
  const f = divisor !== 0 && Number.isFinite(divisor) ? tf.div : quotient;
  return [elementwise(call, call.device(0), call.device(1), f)];
};

/** -1, 0 or 1, or NaN. tfjs' own gives 0 for NaN, and on wasm for all below 10^-7. */
const sign = differentiable(
  (x) => {
    const difference = tf.sub(tf.cast(tf.greater(x, 0), "float32"), tf.cast(tf.less(x, 0), "float32"));
    return tf.where(tf.isNaN(x), x, difference);
  },
  (x) => tf.zerosLike(x),
);

/** Elementwise arithmetic of floats; that of integers is the host's. */
export const arithmeticOperators: OperatorTable = {
  Add: binary(tf.add),
  Sub: binary(tf.sub),
  Mul: binary(tf.mul),
  Div: divided,
  Mod: modulo,
  Pow: raised,
  Max: extreme(tf.maximum, atLeast),
  Min: extreme(tf.minimum, atMost),
  Sum: variadicSum(false),
  Mean: variadicSum(true),
  Neg: unary(tf.neg),
  Abs: unary(tf.abs),
  Sign: unary(sign),
  Floor: unary(tf.floor),
  Ceil: unary(tf.ceil),
  Round: unary(tf.round),
  Sqrt: unary(tf.sqrt),
  Reciprocal: unary(reciprocal),
  Exp: unary(tf.exp),
  Log: unary(tf.log),
  Sin: unary(tf.sin),
  Cos: unary(tf.cos),
  Tan: unary(tf.tan),
  Asin: unary(tf.asin),
  Acos: unary(tf.acos),
  Atan: unary(tf.atan),
  Sinh: unary(sinh),
  Cosh: unary(cosh),
  Asinh: unary(asinh),
  Acosh: unary(acosh),
  Atanh: unary(atanh),
};
