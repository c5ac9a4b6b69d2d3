import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import { keptWhere } from "./choice.ts";

/**
 * x^y as IEEE 754 and C have it: 1 for y = 0 and for x = 1, whatever the other is, and for x = -1 with y infinite; a base
 * of 0 or -0 by the sign and parity of y. Of tfjs' kernels only wasm's knows all of this: on cpu, 1^Infinity is NaN, and
 * graphics devices compute exp2(y log2 |x|).
 */
function ieeePower(x: tf.Tensor, y: tf.Tensor): tf.Tensor {
  const all = (value: number): tf.Tensor => tf.fill(x.shape, value);
  const [size, isRising, isInfinite] = [tf.abs(x), tf.greater(y, 0), tf.isInf(y)];
  let result = tf.pow(size, y);
  const replace = (condition: tf.Tensor, value: tf.Tensor): void => {
    result = tf.where(condition, value, result);
  };
  replace(tf.equal(size, 0), tf.where(isRising, all(0), all(Infinity)));
  replace(tf.isInf(size), tf.where(isRising, all(Infinity), all(0)));
  const isOutside = tf.greater(size, 1);
  replace(isInfinite, tf.where(tf.logicalXor(isOutside, isRising), all(0), all(Infinity)));

  const half = tf.div(y, 2);
  const isWhole = tf.equal(tf.floor(y), y);
  const isOdd = tf.logicalAnd(isWhole, tf.notEqual(tf.floor(half), half));
  // -0 is not less than 0, but its reciprocal is.
  const isNegative = tf.logicalOr(tf.less(x, 0), tf.less(tf.reciprocal(x), 0));
  replace(tf.logicalAnd(isNegative, isOdd), tf.neg(result));
  const isRoot = tf.logicalAnd(tf.less(x, 0), tf.logicalNot(tf.logicalOr(isWhole, tf.isInf(x))));
  replace(tf.logicalOr(isRoot, tf.logicalOr(tf.isNaN(x), tf.isNaN(y))), all(Number.NaN));

  const isUnit = tf.logicalAnd(tf.equal(size, 1), isInfinite);
  replace(tf.logicalOr(tf.equal(y, 0), tf.logicalOr(tf.equal(x, 1), isUnit)), all(1));
  return result;
}

/** x^y of tensors of one shape, and its gradient y x^(y - 1), x^y log x. */
export function power(x: tf.Tensor, y: tf.Tensor): tf.Tensor {
  if (tf.getBackend() === "wasm") return tf.pow(x, y);
  const raise = tf.customGrad((...parameters) => {
    const [base, exponent, save] = parameters as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const value = detached(() => ieeePower(base, exponent));
    save([base, exponent, value]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [a, b, result] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
        const slope = keptWhere(() => tf.notEqual(b, 0), tf.mul(b, power(a, tf.sub(b, 1))));
        const growth = keptWhere(() => tf.greater(a, 0), tf.mul(result, tf.log(a)));
        return [tf.mul(dy, slope), tf.mul(dy, growth)];
      },
    };
  });
  return raise(x, y);
}

/** x^0.5: where the square root is NaN, at -Infinity, the power is Infinity. */
export function rootPower(x: tf.Tensor): tf.Tensor {
  return keptWhere(() => tf.notEqual(x, -Infinity), tf.sqrt(x), Infinity);
}

/** x^-0.5: 0 at -Infinity, and Infinity at -0, which + 0 makes 0. */
export function inverseRootPower(x: tf.Tensor): tf.Tensor {
  return keptWhere(() => tf.notEqual(x, -Infinity), tf.rsqrt(tf.add(x, 0)), 0);
}
