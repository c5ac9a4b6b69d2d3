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

/**
 * Generalized attention (2006.03555, section 2.2: A = g(Q) K(Q, K) h(K), with g = h = 1):
 *
 *     phi_m(x) = (f(w_m.x) + epsilon) / sqrt(M)
 *
 * estimates the kernel E (f(w.q) + epsilon)(f(w.k) + epsilon). The paper chooses ReLU with epsilon 1e-3 for proteins.
 * Other g and h: g cancels in the normaliser, and h is what `keyMask` multiplies.
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
  return directFeatureMap(description, dim, count, {
    features: (x) => projection.apply(x).map((value) => (f.value(value) + epsilon) * scale),
    backward(x, upstream) {
      const { derivative } = f;
      if (derivative === undefined) throw new ArgumentError("f.derivative", "a function, for gradients", derivative);
      const inner = projection.apply(x).map((value, i) => derivative(value) * upstream[i]! * scale);
      return multiply(inner, projection.materialize(), x.length / dim, count, dim);
    },
  });
}
