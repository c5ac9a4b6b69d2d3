import { ArgumentError } from "../errors.ts";
import { requireOptions } from "../options.ts";
import { multiply } from "../linear-algebra/products.ts";
import { createProjection } from "../projections/projection.ts";
import { checkDescription } from "./description.ts";
import type { GeneralizedDescription } from "./description.ts";
import { directFeatureMap } from "./direct.ts";
import { elementwiseFunctions } from "./elementwise.ts";
import type { Elementwise } from "./elementwise.ts";
import type { FeatureMap } from "./feature-map.ts";
import { multiplyFeatures, namedFactor } from "./row-factor.ts";

/**
 * Generalized attention (2006.03555, section 2.2), A_ij = g(q_i) K(q_i, k_j) h(k_j):
 *
 *     phi_q,m = g(q) (f(w_m.q) + epsilon) / sqrt(M)        phi_k,m = h(k) (f(w_m.k) + epsilon) / sqrt(M)
 *
 * estimate the kernel K(q, k) = E (f(w.q) + epsilon)(f(w.k) + epsilon) between g and h, which the description names or
 * which default to 1. The paper chooses ReLU with epsilon 1e-3 for proteins. For g and h of your own, and for other
 * kernels, see {@link withRowFactors}.
 *
 * @param ownFunction Replaces the function that the description names; a description cannot restore it.
 * @throws ArgumentError for an unknown function or a negative epsilon.
 */
export function generalizedFeatureMap(description: GeneralizedDescription, ownFunction?: Elementwise): FeatureMap {
  checkDescription(description);
  const { epsilon = 1e-3 } = description;
  if (ownFunction !== undefined) {
    requireOptions("ownFunction", ownFunction, { value: true, derivative: true }, "{ value: Math.exp }");
  }
  const f = ownFunction ?? elementwiseFunctions[description.function];
  const projection = createProjection(description.projection);
  const { dim, count } = description.projection;
  const scale = 1 / Math.sqrt(count);
  const map = directFeatureMap(description, dim, count, {
    features: (x) => projection.apply(x).map((value) => (f.value(value) + epsilon) * scale),
    backward(x, upstream) {
      const { derivative } = f;
      if (derivative === undefined) throw new ArgumentError("f.derivative", "a function, for gradients", derivative);
      const inner = projection.apply(x).map((value, i) => derivative(value) * upstream[i]! * scale);
      return multiply(inner, projection.materialize(), x.length / dim, count, dim);
    },
  });
  const { queryFactor, keyFactor } = description;
  if (queryFactor === undefined && keyFactor === undefined) return map;
  return multiplyFeatures(map, namedFactor(queryFactor), namedFactor(keyFactor));
}
