import * as tf from "@tensorflow/tfjs-core";
import { keptWhere, summedTo } from "./choice.ts";

/**
 * a / b elementwise, broadcast. The gradient for b is -(dy / b) (a / b). tfjs squares b instead, which makes NaN of denominators below
 * 1e-19. Normalisers of linear attention get there, next to numerators as small.
 */
export function quotient(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const divide = tf.customGrad((...parameters) => {
    const [dividend, divisor, save] = parameters as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const value = definedQuotient(dividend, divisor);
    save([divisor, value]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const scaled = tf.div(dy, saved[0]!);
        return [summedTo(scaled, a.shape), summedTo(tf.neg(tf.mul(scaled, saved[1]!)), b.shape)];
      },
    };
  });
  return divide(a, b);
}

/** 1 / x, with the gradient of {@link quotient}. */
export function reciprocal(x: tf.Tensor): tf.Tensor {
  const invert = tf.customGrad((...parameters) => {
    const [, save] = parameters as [tf.Tensor, tf.GradSaveFunc];
    const value = tf.reciprocal(x);
    save([value]);
    // From the left: the square of a large value would overflow.
    return { value, gradFunc: (dy: tf.Tensor, [y]: tf.Tensor[]) => tf.neg(tf.mul(tf.mul(dy, y!), y!)) };
  });
  return invert(x);
}

/** a / b; on webgl the kernel of tfjs 4.22 says that whatever equals its divisor gives 1, 0 and Infinity included. */
function definedQuotient(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const value = tf.div(a, b);
  if (tf.getBackend() !== "webgl") return value;
  const isDefined = (): tf.Tensor => {
    const extreme = tf.logicalOr(tf.equal(a, 0), tf.isInf(a));
    return tf.logicalNot(tf.logicalAnd(tf.equal(a, b), extreme));
  };
  return keptWhere(isDefined, value, Number.NaN);
}
