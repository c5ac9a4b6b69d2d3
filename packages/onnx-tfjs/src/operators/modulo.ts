import { DataType } from "@favor/onnx";
import { evaluateNode, tensorOf } from "@favor/onnx/evaluate";
import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import { hostLimits, type Operator } from "../operator-call.ts";
import { toDevice } from "../value.ts";
import { keptWhere, summedTo } from "./choice.ts";

/**
 * The remainder of floats. It is computed on the host: a - b floor(a / b) has no right digit where a / b is large, and
 * there and at infinite divisors no backend of tfjs is exact. Its gradient is 1 and -n, for the remainder a - n b.
 */
export const modulo: Operator = (call) => {
  const operands = [call.host(0), call.host(1)].map(({ dims, data }) => tensorOf(DataType.FLOAT, dims, data));
  const [rest] = evaluateNode(call.node, operands, { opsets: call.context.opset, limits: hostLimits });
  const divide = tf.customGrad((...parameters) => {
    const [a, b, save] = parameters as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const value = toDevice(rest!);
    save([a, b, value]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const [dividend, divisor, remainder] = saved as [tf.Tensor, tf.Tensor, tf.Tensor];
        const quotient = detached(() => {
          const whole = tf.round(tf.div(tf.sub(dividend, remainder), divisor));
          return keptWhere(() => tf.isFinite(whole), whole);
        });
        return [summedTo(dy, dividend.shape), summedTo(tf.neg(tf.mul(dy, quotient)), divisor.shape)];
      },
    };
  });
  return [divide(call.device(0), call.device(1))];
};
