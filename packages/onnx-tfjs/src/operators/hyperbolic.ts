import * as tf from "@tensorflow/tfjs-core";
import { differentiable } from "./differentiable.ts";

// The kernels of tfjs 4.22 for graphics devices take e^|x| and x^2, which overflow first, lose the digits of asinh below
// -100, and some give a number for NaN.

const onGraphics = (): boolean => tf.getBackend() === "webgl" || tf.getBackend() === "webgpu";

/** `kernel` on the processor, `own` on graphics devices. */
const choice =
  (kernel: (x: tf.Tensor) => tf.Tensor, own: (x: tf.Tensor) => tf.Tensor) =>
  (x: tf.Tensor): tf.Tensor =>
    onGraphics() ? own(x) : kernel(x);

/** e^x / 2, which overflows where sinh and cosh do. */
function halfExp(x: tf.Tensor): tf.Tensor {
  const root = tf.exp(tf.div(x, 2));
  return tf.mul(tf.div(root, 2), root);
}

/** `value` where the condition holds, NaN elsewhere: shaders may assume that NaN does not occur, and lose it. */
const defined = (condition: tf.Tensor, value: tf.Tensor): tf.Tensor =>
  tf.where(condition, value, tf.fill(value.shape, Number.NaN));

const half = (f: typeof tf.add) => (x: tf.Tensor) =>
  defined(tf.logicalNot(tf.isNaN(x)), f(halfExp(x), halfExp(tf.neg(x))));

/** Beyond it, sqrt(x^2 +- 1) is x in float32, and x^2 may overflow. */
const large = 1e4;

/** log(2 x) where x is large, `near` elsewhere. */
const logarithmic = (x: tf.Tensor, near: tf.Tensor): tf.Tensor =>
  tf.where(tf.greater(x, large), tf.add(tf.log(x), Math.LN2), near);

/** x >= 0: log(1 + x + x^2 / (1 + sqrt(1 + x^2))) */
function positiveAsinh(x: tf.Tensor): tf.Tensor {
  const square = tf.square(x);
  const more = tf.div(square, tf.add(tf.sqrt(tf.add(square, 1)), 1));
  return logarithmic(x, tf.log1p(tf.add(x, more)));
}

const ownAsinh = (x: tf.Tensor): tf.Tensor => {
  const value = positiveAsinh(tf.abs(x));
  return tf.where(tf.less(x, 0), tf.neg(value), value);
};

/** sqrt(x^2 - 1) */
const chord = (x: tf.Tensor): tf.Tensor => tf.mul(tf.sqrt(tf.sub(x, 1)), tf.sqrt(tf.add(x, 1)));

export const sinh: (x: tf.Tensor) => tf.Tensor = differentiable(choice(tf.sinh, half(tf.sub)), (x) => cosh(x));
export const cosh: (x: tf.Tensor) => tf.Tensor = differentiable(choice(tf.cosh, half(tf.add)), (x) => sinh(x));
export const asinh: (x: tf.Tensor) => tf.Tensor = differentiable(choice(tf.asinh, ownAsinh), (x) =>
  tf.rsqrt(tf.add(tf.square(x), 1)),
);
export const acosh: (x: tf.Tensor) => tf.Tensor = differentiable(
  choice(tf.acosh, (x) => defined(tf.greaterEqual(x, 1), logarithmic(x, tf.log(tf.add(x, chord(x)))))),
  (x) => tf.reciprocal(chord(x)),
);
export const atanh: (x: tf.Tensor) => tf.Tensor = differentiable(
  choice(tf.atanh, (x) => defined(tf.lessEqual(tf.abs(x), 1), tf.div(tf.sub(tf.log1p(x), tf.log1p(tf.neg(x))), 2))),
  (x) => tf.reciprocal(tf.sub(1, tf.square(x))),
);
