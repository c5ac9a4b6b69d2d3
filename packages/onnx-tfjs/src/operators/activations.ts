import { detached } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import type { Operator, OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { gelu, geluTanh } from "./gelu.ts";

type Unary = (x: tf.Tensor) => tf.Tensor;

const unary =
  (f: Unary): Operator =>
  (call) => [f(call.device(0))];

/** A function whose parameters are attributes. */
const parameterised =
  (make: (call: OperatorCall) => Unary): Operator =>
  (call) => [make(call)(call.device(0))];

/** min(x, 0) */
const negativePart: Unary = (x) => tf.neg(tf.relu(tf.neg(x)));

/** x where `condition` holds, 0 elsewhere; the condition, a comparison, has no gradient. */
function where(x: tf.Tensor, condition: () => tf.Tensor): tf.Tensor {
  return tf.mul(
    x,
    detached(() => tf.cast(condition(), "float32")),
  );
}

/** log(1 + exp(x)), without overflow. */
const softplus: Unary = (x) => tf.add(tf.relu(x), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));

/** Bounds are attributes before opset 11, optional inputs since. */
const clip: Operator = (call) => {
  const low = call.has(1) ? call.scalar(1) : call.float("min", -Infinity);
  const high = call.has(2) ? call.scalar(2) : call.float("max", Infinity);
  // ONNX: where the bounds cross, the upper one wins.
  return [tf.clipByValue(call.device(0), Math.min(low, high), high)];
};

/** Nothing is dropped unless the third input says that this is training. */
const dropout: Operator = (call): Value[] => {
  if (call.has(2) && call.scalar(2) !== 0) throw call.unsupported("dropout while training is not supported");
  const x = call.device(0);
  return call.wants(1) ? [x, tf.ones(x.shape, "bool")] : [x];
};

/** Activation functions; what takes parameters reads them from the node. */
export const activationOperators: OperatorTable = {
  Clip: clip,
  Dropout: dropout,
  Erf: unary(tf.erf),
  Sigmoid: unary(tf.sigmoid),
  Tanh: unary(tf.tanh),
  Relu: unary(tf.relu),
  LeakyRelu: parameterised((call) => {
    const alpha = call.float("alpha", 0.01);
    return (x) => tf.add(tf.relu(x), tf.mul(negativePart(x), alpha));
  }),
  PRelu: (call) => {
    const x = call.device(0);
    return [tf.add(tf.relu(x), tf.mul(negativePart(x), call.device(1)))];
  },
  ThresholdedRelu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => where(x, () => tf.greater(x, alpha));
  }),
  Elu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.add(tf.relu(x), tf.mul(tf.expm1(negativePart(x)), alpha));
  }),
  Selu: parameterised((call) => {
    const alpha = call.float("alpha", 1.67326319217681884765625);
    const gamma = call.float("gamma", 1.05070102214813232421875);
    return (x) => tf.mul(tf.add(tf.relu(x), tf.mul(tf.expm1(negativePart(x)), alpha)), gamma);
  }),
  Celu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.add(tf.relu(x), tf.mul(tf.expm1(tf.div(negativePart(x), alpha)), alpha));
  }),
  Softplus: unary(softplus),
  Softsign: unary((x) => tf.div(x, tf.add(tf.abs(x), 1))),
  HardSigmoid: parameterised((call) => {
    const alpha = call.float("alpha", 0.2);
    const beta = call.float("beta", 0.5);
    return (x) => tf.clipByValue(tf.add(tf.mul(x, alpha), beta), 0, 1);
  }),
  HardSwish: unary((x) => tf.mul(x, tf.clipByValue(tf.add(tf.div(x, 6), 0.5), 0, 1))),
  Mish: unary((x) => tf.mul(x, tf.tanh(softplus(x)))),
  Swish: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.mul(x, tf.sigmoid(tf.mul(x, alpha)));
  }),
  Gelu: parameterised((call) => (call.string("approximate", "none") === "tanh" ? geluTanh : gelu)),
  Shrink: parameterised((call) => {
    const lambda = call.float("lambd", 0.5);
    const bias = call.float("bias", 0);
    return (x) =>
      tf.add(
        where(tf.add(x, bias), () => tf.less(x, -lambda)),
        where(tf.sub(x, bias), () => tf.greater(x, lambda)),
      );
  }),
};
