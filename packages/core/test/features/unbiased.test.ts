import { describe, expect, it } from "vitest";
import { createFeatureMap } from "../../src/index.ts";
import { MomentAccumulator, calibrate } from "../../src/calibration/index.ts";
import type { FeatureMapDescription, ProjectionKind } from "../../src/index.ts";
import { dotRows, exponentialEstimators, normals } from "./samples.ts";

const dim = 3;
const rows = 4;
const q = normals(rows * dim, 1, 0.6);
const k = normals(rows * dim, 2, 0.6);

/** The mean of the estimate over draws, in standard errors from exp(q.k); the worst of all pairs of rows. */
function worstDeviation(descriptionAt: (epoch: number) => FeatureMapDescription, draws: number): number {
  const sums = new Float64Array(rows * rows);
  const squares = new Float64Array(rows * rows);
  for (let epoch = 0; epoch < draws; epoch++) {
    const map = createFeatureMap(descriptionAt(epoch));
    const phiQ = map.query(q);
    const phiK = map.key(k);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < rows; j++) {
        const estimate = dotRows(phiQ, phiK, i, j, map.count);
        sums[i * rows + j]! += estimate;
        squares[i * rows + j]! += estimate * estimate;
      }
    }
  }
  let worst = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rows; j++) {
      const mean = sums[i * rows + j]! / draws;
      const variance = squares[i * rows + j]! / draws - mean * mean;
      // A tight estimator is the point of this test: a broken one must not pass by being noisy.
      expect(Math.sqrt(variance / draws) / mean).toBeLessThan(0.05);
      worst = Math.max(worst, Math.abs(mean - Math.exp(dotRows(q, k, i, j, dim))) / Math.sqrt(variance / draws));
    }
  }
  return worst;
}

// 16 pairs of rows at 4.5 standard errors: a right estimator fails once in ten thousand, and the seeds are fixed.
const bound = 4.5;

describe.each(["iid", "orthogonal"] satisfies ProjectionKind[])("with %s projections", (kind) => {
  const names = exponentialEstimators({ kind, count: 5, dim, seed: 9 }).map((d, i) => [d.kind, i] as const);

  it.each(names)("%s features (%i) are unbiased for exp(q.k)", (_, index) => {
    const at = (epoch: number) => exponentialEstimators({ kind, count: 5, dim, seed: 9, epoch })[index]!;
    expect(worstDeviation(at, 3000)).toBeLessThan(bound);
  });

  it("calibrated features are unbiased for exp(q.k), whatever the moments", () => {
    const accumulator = new MomentAccumulator(dim);
    const query = normals(300 * dim, 3, 0.7).map((value, i) => value * (1 + (i % dim)) * 0.5 + 0.4);
    const key = normals(300 * dim, 4, 0.7).map((value, i) => value + (i % dim === 1 ? 0.8 : 0));
    accumulator.add(query, key);
    const calibrated = calibrate(accumulator.moments(), { count: 5, seed: 9, projection: kind });
    const at = (epoch: number) => ({ ...calibrated, projection: { ...calibrated.projection, epoch } });
    expect(worstDeviation(at, 3000)).toBeLessThan(bound);
  });
});
