import { RandomStream, streamPurpose } from "../../src/index.ts";
import type { FeatureMapDescription, ProjectionDescription } from "../../src/index.ts";

/** `count` normals times `scale`, from a stream of their own. */
export function normals(count: number, seed: number, scale = 1): Float64Array {
  return new RandomStream({ seed, purpose: streamPurpose.trials }).gaussians(count).map((value) => scale * value);
}

/** q.k of one row each. */
export function dotRows(q: Float64Array, k: Float64Array, i: number, j: number, dim: number): number {
  let sum = 0;
  for (let l = 0; l < dim; l++) sum += q[i * dim + l]! * k[j * dim + l]!;
  return sum;
}

/** One description of every kind that estimates exp(q.k), over a given projection. */
export function exponentialEstimators(projection: ProjectionDescription): FeatureMapDescription[] {
  const { dim } = projection;
  const version = 1;
  return [
    { version, kind: "trigonometric", variant: "phase", projection },
    { version, kind: "trigonometric", variant: "pair", projection },
    { version, kind: "positive", projection },
    { version, kind: "hyperbolic", projection },
    { version, kind: "oprf", projection, a: -0.1 },
    {
      version,
      kind: "dense-exponential",
      projection,
      a: Array.from({ length: dim }, (_, l) => 0.05 - 0.1 * l),
    },
  ];
}
