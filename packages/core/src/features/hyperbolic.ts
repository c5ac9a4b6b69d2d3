import { log } from "../random/elementary.ts";
import type { HyperbolicDescription } from "./description.ts";
import type { ExponentialForm } from "./exponential-form.ts";
import { positiveForm } from "./positive.ts";

/**
 * The hyperbolic form of FAVOR+ (2009.14794, Lemma 1): exp(w.x) and exp(-w.x), each times exp(-|x|^2/2) / sqrt(2 M);
 * width 2 M. It estimates cosh(w.(x + y)) exp(-(|x|^2 + |y|^2)/2), never with more variance than 2 M plain features.
 */
export function hyperbolicForm({ projection }: HyperbolicDescription): ExponentialForm {
  const half = positiveForm({ projection });
  const count = 2 * projection.count;
  const both = new Float64Array(count * projection.dim);
  both.set(half.queryProjection);
  both.set(
    half.queryProjection.map((value) => -value),
    both.length / 2,
  );
  const logWeight = new Float64Array(count).fill(-log(count));
  return { ...half, count, queryProjection: both, keyProjection: both, logWeight };
}
