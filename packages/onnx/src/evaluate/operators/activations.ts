import type { OperatorCall, OperatorTable } from "../call.ts";
import { erf } from "../error-function.ts";
import { mapBinary, mapUnary } from "../positions.ts";
import { largestOf, type Tensor } from "../tensor.ts";

type Unary = (x: number) => number;

const unary = (f: Unary) => (call: OperatorCall) => [mapUnary(call, call.input(0).dataType, f)];

/** A function whose parameters are attributes. */
const parameterised = (make: (call: OperatorCall) => Unary) => (call: OperatorCall) => [
  mapUnary(call, call.input(0).dataType, make(call)),
];

export const sigmoid: Unary = (x) => 1 / (1 + Math.exp(-x));
/** log(1 + exp(x)), without overflow. */
const softplus: Unary = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
/** x * Phi(x), with the Gaussian distribution function. */
export const gelu: Unary = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
/** The tanh approximation of {@link gelu}. */
export const geluTanh: Unary = (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));

/** Bounds are attributes before opset 11, optional inputs since; by default the largest numbers of the type. */
const clip = (call: OperatorCall): Tensor[] => {
  const { dataType } = call.input(0);
  const largest = largestOf(dataType);
  const low = call.optional(1) === null ? call.float("min", -largest) : call.scalar(1);
  const high = call.optional(2) === null ? call.float("max", largest) : call.scalar(2);
  return [mapUnary(call, dataType, (x) => Math.min(Math.max(x, low), high))];
};

/** Activation functions; those with parameters read them from the node. */
export const activationOperators: OperatorTable = {
  Clip: clip,
  Erf: unary(erf),
  Sigmoid: unary(sigmoid),
  Tanh: unary(Math.tanh),
  Relu: unary((x) => Math.max(x, 0)),
  LeakyRelu: parameterised((call) => {
    const alpha = call.float("alpha", 0.01);
    return (x) => (x < 0 ? alpha * x : x);
  }),
  PRelu: (call) => {
    const x = call.input(0);
    return [mapBinary(call, x, call.input(1), x.dataType, (value, slope) => (value < 0 ? slope * value : value))];
  },
  ThresholdedRelu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => (x > alpha ? x : 0);
  }),
  Elu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => (x < 0 ? alpha * Math.expm1(x) : x);
  }),
  Selu: parameterised((call) => {
    const alpha = call.float("alpha", 1.67326319217681884765625);
    const gamma = call.float("gamma", 1.05070102214813232421875);
    return (x) => gamma * (x <= 0 ? alpha * Math.expm1(x) : x);
  }),
  Celu: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => Math.max(0, x) + Math.min(0, alpha * Math.expm1(x / alpha));
  }),
  Softplus: unary(softplus),
  Softsign: unary((x) => x / (1 + Math.abs(x))),
  HardSigmoid: parameterised((call) => {
    const alpha = call.float("alpha", 0.2);
    const beta = call.float("beta", 0.5);
    return (x) => Math.max(0, Math.min(1, alpha * x + beta));
  }),
  HardSwish: unary((x) => x * Math.max(0, Math.min(1, x / 6 + 0.5))),
  Mish: unary((x) => x * Math.tanh(softplus(x))),
  Swish: parameterised((call) => {
    const alpha = call.float("alpha", 1);
    return (x) => x * sigmoid(alpha * x);
  }),
  Gelu: parameterised((call) => (call.string("approximate", "none") === "tanh" ? geluTanh : gelu)),
  Shrink: parameterised((call) => {
    const lambda = call.float("lambd", 0.5);
    const bias = call.float("bias", 0);
    return (x) => (x < -lambda ? x + bias : x > lambda ? x - bias : 0);
  }),
};
