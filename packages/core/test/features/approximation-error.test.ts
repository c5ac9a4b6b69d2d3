import { describe, expect, it } from "vitest";
import { createFeatureMap } from "../../src/index.ts";
import type { FeatureMapDescription, ProjectionKind } from "../../src/index.ts";
import { multiplyTransposed } from "../../src/linear-algebra/products.ts";
import reference from "../fixtures/approximation-error.json" with { type: "json" };
import { normals } from "./samples.ts";

const dim = 16;
const keys = 512;
const queries = 128;
const draws = 15;

function describeMap(map: string, kind: ProjectionKind, width: number, epoch: number): FeatureMapDescription {
  const double = map === "pair" || map === "hyperbolic";
  const projection = { kind, count: double ? width / 2 : width, dim, seed: 1, epoch };
  if (map === "phase" || map === "pair") return { version: 1, kind: "trigonometric", variant: map, projection };
  return map === "positive"
    ? { version: 1, kind: "positive", projection }
    : { version: 1, kind: "hyperbolic", projection };
}

function relativeError(description: FeatureMapDescription, epoch: number): number {
  const scale = 0.5 * dim ** -0.25;
  const q = normals(queries * dim, 100 + epoch, scale);
  const k = normals(keys * dim, 200 + epoch, scale);
  const exact = multiplyTransposed(q, k, queries, dim, keys);
  const map = createFeatureMap(description);
  const estimate = multiplyTransposed(map.query(q), map.key(k), queries, map.count, keys);
  let error = 0;
  let norm = 0;
  for (let i = 0; i < exact.length; i++) {
    const a = Math.exp(exact[i]!);
    error += (estimate[i]! - a) ** 2;
    norm += a * a;
  }
  return Math.sqrt(error / norm);
}

describe("approximation error against an independent implementation", () => {
  it.each(reference.rows)("$map, $projection, M = $count: $mean +- $deviation", (row) => {
    let mean = 0;
    for (let epoch = 0; epoch < draws; epoch++) {
      const kind = row.projection as ProjectionKind;
      mean += relativeError(describeMap(row.map, kind, row.count, epoch), epoch) / draws;
    }
    // Two means of 15 draws each: four standard errors of their difference.
    expect(Math.abs(mean - row.mean)).toBeLessThan(4 * row.deviation * Math.sqrt(2 / draws));
  });
});
