import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator, OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { atLeast, atMost, negativePart, relu } from "./bounds.ts";
import { chosen, keptWhere } from "./choice.ts";
import { quotient } from "./division.ts";
import { gelu, geluTanh } from "./gelu.ts";

type Unary = (x: tf.Tensor) => tf.Tensor;

const unary =
  (f: Unary): Operator =>
  (call) => [f(call.device(0))];

/** A function whose parameters are attributes. */
const parameterised =
  (make: (call: OperatorCall) => Unary): Operator =>
  (call) => [make(call)(call.device(0))];

/** 1 / (1 + exp(-x)); the kernel of webgpu may give 0 for NaN. */
const sigmoid: Unary = (x) =>
  tf.getBackend() === "webgpu" ? keptWhere(() => tf.logicalNot(tf.isNaN(x)), tf.sigmoid(x), Number.NaN) : tf.sigmoid(x);

/** log(1 + exp(x)), without overflow. */
const softplus: Unary = (x) => tf.add(relu(x), tf.log1p(tf.exp(tf.neg(tf.abs(x)))));

/** x between 0 and 1. */
const fraction: Unary = (x) => atMost(atLeast(x, 0), 1);

/** The largest number of float32. */
const largest = (2 - 2 ** -23) * 2 ** 127;

/** Bounds are attributes before opset 11, optional inputs since; by default the largest numbers, so that none is infinite. */
const clip: Operator = (call) => {
  const low = call.has(1) ? call.scalar(1) : call.float("min", -largest);
  const high = call.has(2) ? call.scalar(2) : call.float("max", largest);
  // Where the bounds cross, the upper one wins.
  return [atMost(atLeast(call.device(0), low), high)];
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
  Sigmoid: unary(sigmoid),
  Tanh: unary(tf.tanh),
  Relu: unary(relu),
  LeakyRelu: parameterised((call) => {
    const alpha = call.float("alpha", 0.01);
    return (x) => tf.add(relu(x), tf.mul(negativePart(x), alpha));
  }),
  PRelu: (call) => {
    const x = call.device(0);
    const isNegative = detached(() => tf.less(x, 0));
    // Where x is not negative, a slope that is infinite or NaN touches neither the value nor its gradient.
    const negative = keptWhere(() => isNegative, x);
    return [chosen(isNegative, tf.mul(negative, call.device(1)), x, x.shape)];
  },
  ThresholdedRelu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => keptWhere(() => tf.greater(x, alpha), x);
  }),
  Elu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.add(relu(x), tf.mul(tf.expm1(negativePart(x)), alpha));
  }),
  Selu: parameterised((call) => {
    const alpha = call.float("alpha", 1.67326319217681884765625);
    const gamma = call.float("gamma", 1.05070102214813232421875);
    return (x) => tf.mul(tf.add(relu(x), tf.mul(tf.expm1(negativePart(x)), alpha)), gamma);
  }),
  Celu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.add(relu(x), tf.mul(tf.expm1(tf.div(negativePart(x), alpha)), alpha));
  }),
  Softplus: unary(softplus),
  Softsign: unary((x) => quotient(x, tf.add(tf.abs(x), 1))),
  HardSigmoid: parameterised((call) => {
    const alpha = call.float("alpha", 0.2);
    const beta = call.float("beta", 0.5);
    return (x) => fraction(tf.add(tf.mul(x, alpha), beta));
  }),
  HardSwish: unary((x) => tf.mul(x, fraction(tf.add(tf.div(x, 6), 0.5)))),
  Mish: unary((x) => tf.mul(x, tf.tanh(softplus(x)))),
  Swish: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => tf.mul(x, sigmoid(tf.mul(x, alpha)));
  }),
  Gelu: parameterised((call) => (call.string("approximate", "none") === "tanh" ? geluTanh : gelu)),
  Shrink: parameterised((call) => {
    const lambda = call.float("lambd", 0.5);
    const bias = call.float("bias", 0);
    return (x) => {
      const raised = keptWhere(() => tf.less(x, -lambda), tf.add(x, bias));
      return chosen(
        detached(() => tf.greater(x, lambda)),
        tf.sub(x, bias),
        raised,
        x.shape,
      );
    };
  }),
};
