import { describe, expect, it } from "vitest";
import { averagedQueries, keyDeviations } from "../../../src/index.ts";
import type { BlockSelector } from "../../../src/index.ts";
import { keyDirections } from "../../../src/calibration/index.ts";
import { relativeError, Sampler } from "../samples.ts";

const [dim, width, keys] = [4, 5, 23];
const blocks = Math.ceil(keys / width);
const sampler = new Sampler(3);
const query = sampler.normals(7 * dim);
const key = sampler.normals(keys * dim);
const logMask = Float64Array.from({ length: keys }, (_, j) => (j % 4 === 1 ? -Infinity : j % 3 === 0 ? -0.7 : 0));
const row = (x: Float64Array, i: number) => x.subarray(i * dim, (i + 1) * dim);
const inner = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, l) => sum + x * b[l]!, 0);
const softmax = (logs: number[]) => {
  const weights = logs.map(Math.exp);
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
};
/** The sum of two groups of queries: rows 0 to 3 and 4 to 6, of which row 5 is left out. */
const queryMask = [1, 1, 1, 1, 1, 0, 1];
const groupMeans = [
  [0, 1, 2, 3],
  [4, 6],
].map((rows) =>
  Float64Array.from({ length: dim }, (_, l) => rows.reduce((sum, i) => sum + row(query, i)[l]!, 0) / rows.length),
);
const keysOf = (block: number) =>
  Array.from({ length: width }, (_, i) => block * width + i).filter((j) => j < keys && logMask[j]! > -Infinity);
const summed = (logsOf: (mean: Float64Array, block: number) => number) => {
  const rows = groupMeans.map((mean) => softmax(Array.from({ length: blocks }, (_, block) => logsOf(mean, block))));
  return rows[0]!.map((share, block) => share + rows[1]![block]!);
};
const scoresOf = (selector: BlockSelector, keyBlocks = blocks) =>
  selector.prepare({ dim, width, key, logMask })({ query, queryMask, keyBlocks });

describe("selectors", () => {
  const directions = Float64Array.of(1, 0, 0, 0, 0, 0.6, 0.8, 0);

  it("averaged queries are their definition", () => {
    const expected = summed((mean, block) =>
      Math.log(keysOf(block).reduce((sum, j) => sum + Math.exp(logMask[j]! + inner(mean, row(key, j))), 0)),
    );
    expect(relativeError(scoresOf(averagedQueries({ group: 4 })), expected)).toBeLessThan(1e-12);
  });

  it("averaged keys count as their mean, with the sum of their masks", () => {
    const expected = summed((mean, block) => {
      const means = [0, 2, 4].map((from) =>
        keysOf(block).filter((j) => j - block * width >= from && j - block * width < from + 2),
      );
      const terms = means.map((group) => {
        const total = group.reduce((sum, j) => sum + Math.exp(logMask[j]!), 0);
        const logit = group.reduce((sum, j) => sum + (Math.exp(logMask[j]!) / total) * inner(mean, row(key, j)), 0);
        return total === 0 ? 0 : total * Math.exp(logit);
      });
      return Math.log(terms.reduce((a, b) => a + b, 0));
    });
    expect(relativeError(scoresOf(averagedQueries({ group: 4, keyGroup: 2 })), expected)).toBeLessThan(1e-12);
  });

  it("deviations of keys are their definition", () => {
    const expected = summed((mean, block) => {
      const weights = keysOf(block).map((j) => Math.exp(logMask[j]!));
      const total = weights.reduce((a, b) => a + b, 0);
      const average = (of: (j: number) => number) =>
        keysOf(block).reduce((sum, j, i) => sum + (weights[i]! / total) * of(j), 0);
      let variance = 0;
      for (const direction of [row(directions, 0), row(directions, 1)]) {
        const centre = average((j) => inner(row(key, j), direction));
        const spread = average((j) => (inner(row(key, j), direction) - centre) ** 2);
        variance += inner(mean, direction) ** 2 * spread;
      }
      return average((j) => inner(mean, row(key, j))) + 1.5 * Math.sqrt(variance) + Math.log(total);
    });
    const selector = keyDeviations({ directions, group: 4, deviations: 1.5 });
    expect(relativeError(scoresOf(selector), expected)).toBeLessThan(1e-12);
  });

  it("averaged queries among candidates are as if there were no other blocks", () => {
    const cheap = keyDeviations({ directions, group: 4 });
    const best = [...scoresOf(cheap).entries()].toSorted((a, b) => b[1] - a[1]).slice(0, 2);
    const kept = best.map(([block]) => block);
    const expected = summed((mean, block) =>
      kept.includes(block)
        ? Math.log(keysOf(block).reduce((sum, j) => sum + Math.exp(logMask[j]! + inner(mean, row(key, j))), 0))
        : -Infinity,
    ).map((score, block) => (kept.includes(block) ? score : -Infinity));
    const scores = scoresOf(averagedQueries({ group: 4, candidates: { selector: cheap, count: 2 } }));
    expect([...scores].map((score) => score > -Infinity)).toEqual(expected.map((score) => score > -Infinity));
    for (const block of kept) expect(scores[block]).toBeCloseTo(expected[block]!, 12);
  });

  it.each([
    ["averaged queries", averagedQueries({ group: 4 })],
    ["averaged queries and keys", averagedQueries({ group: 4, keyGroup: 2 })],
    ["deviations of keys", keyDeviations({ directions, group: 4 })],
  ])("%s look at no later block, nor at hidden keys, and never choose a hidden block", (_, selector) => {
    const first = scoresOf(selector, 2);
    const changed = key.map((x, at) => {
      const j = Math.floor(at / dim);
      return j >= 2 * width ? 7 : logMask[j] === -Infinity ? NaN : x;
    });
    const again = selector.prepare({ dim, width, key: changed, logMask })({ query, queryMask, keyBlocks: 2 });
    expect(again).toEqual(first);
    const hidden = logMask.map((log, j) => (j < width ? -Infinity : log));
    expect(selector.prepare({ dim, width, key, logMask: hidden })({ query, keyBlocks: 2 })[0]).toBe(-Infinity);
    const nobody = selector.prepare({ dim, width, key, logMask })({ query, queryMask: Array(7).fill(0), keyBlocks: 2 });
    expect(nobody).toEqual(new Float64Array(2));
  });

  it("directions of keys are those of the spread within blocks, not between them", () => {
    const spread = new Sampler(9);
    const offsets = Float64Array.from({ length: 20 * dim }, (_, i) => (i % dim === 2 ? 10 * spread.normal() : 0));
    const long = Float64Array.from({ length: 20 * width * dim }, (_, at) => {
      const [j, l] = [Math.floor(at / dim), at % dim];
      return offsets[Math.floor(j / width) * dim + l]! + spread.normal() * [0.1, 3, 0.5, 1][l]!;
    });
    const found = keyDirections([long.subarray(0, 50 * dim), long.subarray(50 * dim)], dim, {
      window: width,
      count: 2,
    });
    expect(Math.abs(found[1]!)).toBeGreaterThan(0.95);
    expect(Math.abs(found[dim + 3]!)).toBeGreaterThan(0.9);
    expect(() => keyDirections([], dim, { window: width })).toThrow("keys");
  });

  it("refuse numbers out of range", () => {
    const none = { selector: averagedQueries(), count: 0 };
    expect(() => averagedQueries({ candidates: none })).toThrow("options.candidates.count");
    expect(() => keyDeviations({ directions, group: 0 })).toThrow("options.group");
    expect(() => keyDeviations({ directions, deviations: -1 })).toThrow("options.deviations");
    expect(() => scoresOf(keyDeviations({ directions: new Float64Array(3) }))).toThrow("options.directions");
  });
});
