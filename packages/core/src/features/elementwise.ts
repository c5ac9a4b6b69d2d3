/** The elementwise functions that a {@link GeneralizedDescription} may name. */
export type ElementwiseFunction =
  | "relu"
  | "exp"
  | "abs"
  | "cos"
  | "gelu"
  | "identity"
  | "sigmoid"
  | "softplus"
  | "squared-relu"
  | "tanh";

/** A function of one number, with its derivative if known. */
export interface Elementwise {
  readonly value: (x: number) => number;
  readonly derivative?: (x: number) => number;
}

const geluScale = Math.sqrt(2 / Math.PI);
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/**
 * The elementwise functions by name. gelu is the tanh approximation. At a corner, the derivative is that from below.
 */
export const elementwiseFunctions: Readonly<Record<ElementwiseFunction, Required<Elementwise>>> = {
  relu: { value: (x) => (x < 0 ? 0 : x), derivative: (x) => (x > 0 ? 1 : 0) },
  exp: { value: Math.exp, derivative: Math.exp },
  abs: { value: Math.abs, derivative: (x) => (x > 0 ? 1 : -1) },
  cos: { value: Math.cos, derivative: (x) => -Math.sin(x) },
  gelu: {
    value: (x) => 0.5 * x * (1 + Math.tanh(geluScale * (x + 0.044715 * x * x * x))),
    derivative(x) {
      const t = Math.tanh(geluScale * (x + 0.044715 * x * x * x));
      return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * geluScale * (1 + 3 * 0.044715 * x * x);
    },
  },
  identity: { value: (x) => x, derivative: () => 1 },
  sigmoid: { value: sigmoid, derivative: (x) => sigmoid(x) * sigmoid(-x) },
  softplus: { value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), derivative: sigmoid },
  "squared-relu": { value: (x) => (x < 0 ? 0 : x * x), derivative: (x) => (x > 0 ? 2 * x : 0) },
  tanh: { value: Math.tanh, derivative: (x) => 1 - Math.tanh(x) ** 2 },
};

/** elu(x) + 1 of 2006.16236, equation 7. */
export function eluPlusOne(x: number): number {
  return x > 0 ? x + 1 : Math.exp(x);
}
