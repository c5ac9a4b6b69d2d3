import type {
  FeatureMapDescription,
  LinearExponentialDescription,
  ProjectionDescription,
  ProjectionKind,
} from "@favor/core";
import { calibrate, fitLandmarks, MomentAccumulator } from "@favor/core/calibration";
import { gaussians } from "./reference.ts";

/** Random features of a head. */
export const projection = (dim: number, head: number, kind: ProjectionKind = "orthogonal"): ProjectionDescription => ({
  kind,
  count: 24,
  dim,
  seed: 11,
  head,
});

/** Statistics and samples of random queries and keys that are centred elsewhere than at 0. */
export function momentsOf(dim: number, head: number) {
  const moments = new MomentAccumulator(dim);
  const rows = (seed: number) => Float64Array.from(gaussians(200 * dim, seed), (x, i) => x * 0.6 + (i % 3) * 0.2);
  moments.add(rows(20 + head), rows(30 + head));
  return { moments: moments.moments(), samples: [{ query: rows(20 + head), key: rows(30 + head) }] };
}

/** Learned features: no matrix is the inverse of another, and the two sides differ in everything. */
export function learned(dim: number, head: number): LinearExponentialDescription {
  const numbers = (count: number, seed: number, scale: number): number[] =>
    Array.from(gaussians(count, 100 * head + seed, scale));
  return {
    version: 1,
    kind: "linear-exponential",
    dim,
    count: 24,
    queryMean: numbers(dim, 1, 0.5),
    keyMean: numbers(dim, 2, 0.5),
    queryMatrix: numbers(dim * dim, 3, 0.4),
    keyMatrix: numbers(dim * dim, 4, 0.4),
    keyWeight: numbers(dim, 5, 0.5),
    queryProjection: numbers(24 * dim, 6, 1),
    keyProjection: numbers(24 * dim, 7, 1),
    logWeight: numbers(24, 8, 2),
    subtractNorms: true,
  };
}

/** Feature maps that are made elsewhere, by kind. */
export const made: Readonly<Record<string, (dim: number, head: number) => FeatureMapDescription>> = {
  calibrated: (dim, head) => calibrate(momentsOf(dim, head).moments, { count: 24, seed: 1, head }),
  landmark: (dim, head) => {
    const { moments, samples } = momentsOf(dim, head);
    return fitLandmarks(samples, moments, { count: 12, seed: 1, head });
  },
  learned,
  "learned, one head with a core": (dim, head) => {
    const map = learned(dim, head);
    return head === 0 ? map : { ...map, core: Array.from(gaussians(map.count ** 2, 9, 1), Math.abs) };
  },
};
