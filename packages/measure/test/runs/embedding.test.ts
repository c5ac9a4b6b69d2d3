import { describe, expect, test } from "vitest";

import { RandomStream, streamPurpose } from "@favor/core";

import { ratio } from "../../src/runs/bootstrap.ts";
import { byLength } from "../../src/runs/by-length.ts";
import { compareNeighbours } from "../../src/runs/neighbours.ts";
import { pooled } from "../../src/runs/pooling.ts";

describe("pooling", () => {
  // Three tokens of width 2.
  const vectors = Float32Array.from([1, -8, 2, -4, 6, -9]);

  test.each([
    ["cls", [1, -8]],
    ["last", [6, -9]],
    ["max", [6, -4]],
    ["mean", [3, -7]],
    ["mean-sqrt-length", [9 / Math.sqrt(3), -21 / Math.sqrt(3)]],
    ["weighted-mean", [(1 + 4 + 18) / 6, (-8 - 8 - 27) / 6]],
  ] as const)("%s", (mode, expected) => {
    for (const [i, value] of pooled(vectors, 2, [mode]).entries()) expect(value).toBeCloseTo(expected[i]!, 12);
  });

  test("several ways are laid end to end", () => {
    expect([...pooled(vectors, 2, ["cls", "max", "mean"])]).toEqual([1, -8, 6, -4, 3, -7]);
  });
});

/** `count` vectors of `width` seeded numbers; those of the second list are the first's with noise. */
function noisy(count: number, width: number, noise: number): readonly [Float64Array[], Float64Array[]] {
  const random = new RandomStream({ seed: 3, purpose: streamPurpose.trials });
  const before = Array.from({ length: count }, () =>
    Float64Array.from({ length: width }, () => random.uniform() - 0.5),
  );
  return [before, before.map((vector) => vector.map((value) => value + noise * (random.uniform() - 0.5)))];
}

function cosineOf(a: Float64Array, b: Float64Array): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (const [i, value] of a.entries()) [ab, aa, bb] = [ab + value * b[i]!, aa + value ** 2, bb + b[i]! ** 2];
  return ab / Math.sqrt(aa) / Math.sqrt(bb);
}

/** How many numbers are smaller, and half of those that are equal. */
function rank(all: readonly number[], own: number): number {
  return all.reduce((sum, value) => sum + (value < own ? 1 : value === own ? 0.5 : 0), 0);
}

function nearest(all: readonly Float64Array[], own: number): number {
  const found = all.map((vector, i) => (i === own ? -2 : cosineOf(all[own]!, vector)));
  return found.indexOf(Math.max(...found));
}

function pairs(all: readonly Float64Array[]): number[] {
  return all.flatMap((a, i) => all.slice(0, i).map((b) => cosineOf(a, b)));
}

/** Spearman's correlation by counting what is smaller: Pearson's of the ranks, with half a rank for each tie. */
function spearman(a: readonly number[], b: readonly number[]): number {
  const [x, y] = [a.map((value) => rank(a, value)), b.map((value) => rank(b, value))];
  const mean = a.length / 2;
  const product = (u: number[], v: number[]): number =>
    u.reduce((sum, value, i) => sum + (value - mean) * (v[i]! - mean), 0);
  return product(x, y) / Math.sqrt(product(x, x) * product(y, y));
}

describe("neighbours", () => {
  test("equal those that are found pair by pair", () => {
    const [before, after] = noisy(40, 6, 0.4);
    const kept = before.filter((_, i) => nearest(before, i) === nearest(after, i)).length / 40;
    const found = compareNeighbours(before, after, "cosine", 0)!;
    expect(kept).toBeGreaterThan(0.2);
    expect(kept).toBeLessThan(0.9);
    expect(found.texts).toBe(40);
    expect(found.kept.value).toBe(kept);
    expect(found.rankCorrelation).toBeCloseTo(spearman(pairs(before), pairs(after)), 10);
  });

  test("lengths count for the dot product alone", () => {
    const [before] = noisy(30, 4, 0);
    const after = before.map((vector, i) => vector.map((value) => value * (i + 1)));
    expect(compareNeighbours(before, after, "cosine", 0)).toMatchObject({
      kept: { value: 1 },
      rankCorrelation: expect.closeTo(1, 12) as number,
    });
    expect(compareNeighbours(before, after, "dot", 0)!.kept.value).toBeLessThan(0.9);
  });

  test("of texts that occur twice, any copy is the nearest", () => {
    const [one] = noisy(5, 4, 0);
    const before = [...one, ...one, ...one];
    // The copies change places in the order of rounding errors.
    const after = before.map((vector, i) => vector.map((value) => value * (1 + ((i * 7) % 15) * 1e-15)));
    expect(compareNeighbours(before, after, "cosine", 0)!.kept.value).toBe(1);
  });

  test("two texts have no choice; of many, a thousand are taken", () => {
    const [before, after] = noisy(1001, 2, 0.1);
    expect(compareNeighbours(before.slice(0, 2), after.slice(0, 2), "cosine", 0)).toBeUndefined();
    expect(compareNeighbours(before, after, "cosine", 0)!.texts).toBe(1000);
  });
});

describe("by length", () => {
  const lengths = [3, 64, 65, 128, 129, 4000];
  const sums = Float64Array.from([1, 1, 1, 0, 2, 1, 2, 1, 4, 1, 0, 0]);

  test("ranges end at 64 and its doubles, and hold the measure of their own sequences", () => {
    const found = byLength(lengths, { sums, width: 2, statistic: ratio, original: ([all]) => all! / 10 }, 0);
    expect(
      found.map(({ from, to, sequences, value, original }) => [from, to, sequences, value?.value, original]),
    ).toEqual([
      [1, 64, 2, 0.5, 0.2],
      [65, 128, 2, 0.5, 0.4],
      [129, 256, 1, 0.25, 0.4],
      // Nothing can be said of 0 of 0.
      [2049, 4096, 1, undefined, 0],
    ]);
  });
});
