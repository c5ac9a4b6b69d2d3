import { ArgumentError } from "../errors.ts";
import { createProjection } from "../projections/projection.ts";
import type { ElementwiseFunction, GeneralizedDescription } from "./description.ts";
import { directFeatureMap } from "./direct.ts";
import type { FeatureMap } from "./feature-map.ts";

/** The elementwise functions by name. gelu is the tanh approximation. */
export const elementwiseFunctions: Readonly<Record<ElementwiseFunction, (x: number) => number>> = {
  relu: (x) => (x < 0 ? 0 : x),
  exp: Math.exp,
  abs: Math.abs,
  cos: Math.cos,
  gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
  identity: (x) => x,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  "squared-relu": (x) => (x < 0 ? 0 : x * x),
  tanh: Math.tanh,
};

/**
 * Generalized attention (2006.03555, A = g(Q) K(Q, K) h(K) with g = h = 1): phi_m(x) = (f(w_m.x) + epsilon) / sqrt(M),
 * an estimate of the kernel E f(w.q) f(w.k). `f` overrides the description's function with one of your own, which the
 * description then cannot restore. The paper's choice for proteins is ReLU with epsilon 1e-3.
 *
 * Throws ArgumentError for an unknown function or a negative epsilon.
 */
export function generalizedFeatureMap(
  description: GeneralizedDescription,
  f: ((x: number) => number) | undefined = elementwiseFunctions[description.function],
): FeatureMap {
  const { epsilon = 1e-3 } = description;
  if (f === undefined) {
    const known = Object.keys(elementwiseFunctions).join(", ");
    throw new ArgumentError("description.function", `one of ${known}`, description.function);
  }
  if (!(epsilon >= 0) || epsilon === Infinity) {
    throw new ArgumentError("description.epsilon", "a finite number of at least 0", epsilon);
  }
  const projection = createProjection(description.projection);
  const { dim, count } = description.projection;
  const scale = 1 / Math.sqrt(count);
  return directFeatureMap(description, dim, count, (x) =>
    projection.apply(x).map((value) => (f(value) + epsilon) * scale),
  );
}
