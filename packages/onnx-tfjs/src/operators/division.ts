import * as tf from "@tensorflow/tfjs";
import { keptWhere } from "./choice.ts";

/** a / b; on webgl the kernel of tfjs 4.22 says that whatever equals its divisor gives 1, 0 and Infinity included. */
export function quotient(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
  const value = tf.div(a, b);
  if (tf.getBackend() !== "webgl") return value;
  const isDefined = (): tf.Tensor => {
    const extreme = tf.logicalOr(tf.equal(a, 0), tf.isInf(a));
    return tf.logicalNot(tf.logicalAnd(tf.equal(a, b), extreme));
  };
  return keptWhere(isDefined, value, Number.NaN);
}
