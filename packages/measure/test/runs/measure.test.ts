import { describe, expect, test } from "vitest";

import { bootstrap } from "../../src/runs/bootstrap.ts";
import { compareMasked, scoreToken } from "../../src/runs/masked-language.ts";
import { rankCorrelation } from "../../src/runs/rank-correlation.ts";
import { maskSequence, ordinaryIds } from "../../src/runs/masking.ts";

const tokenizer = { size: 25, specialIds: new Set([0, 1, 2, 3, 4]), maskId: 4 };
const ordinary = ordinaryIds(tokenizer);
const ids = [2, ...Array.from({ length: 400 }, (_, i) => 5 + (i % 20)), 3];

describe("masking", () => {
  test("15 % of the ordinary tokens, of these 80 % masked, 10 % replaced, 10 % left", () => {
    const counts = { ordinary: 0, chosen: 0, masked: 0, left: 0 };
    for (let index = 0; index < 200; index++) {
      const masked = maskSequence(ids, index, 0, tokenizer, ordinary);
      counts.ordinary += 400;
      counts.chosen += masked.positions.length;
      for (const [i, position] of masked.positions.entries()) {
        expect(masked.targets[i]).toBe(ids[position]);
        if (masked.ids[position] === 4) counts.masked++;
        else if (masked.ids[position] === ids[position]) counts.left++;
      }
      expect(masked.ids.filter((id, at) => id !== ids[at] && !masked.positions.includes(at))).toEqual([]);
      expect(masked.positions).not.toContain(0);
      expect(masked.positions).not.toContain(401);
    }
    // Five standard deviations; a random replacement equals the true token in 1 of 20 cases.
    expect(Math.abs(counts.chosen / counts.ordinary - 0.15)).toBeLessThan(
      5 * Math.sqrt((0.15 * 0.85) / counts.ordinary),
    );
    expect(Math.abs(counts.masked / counts.chosen - 0.8)).toBeLessThan(5 * Math.sqrt(0.16 / counts.chosen));
    expect(Math.abs(counts.left / counts.chosen - 0.105)).toBeLessThan(5 * Math.sqrt(0.094 / counts.chosen));
  });

  test("depends on seed and number alone", () => {
    const first = maskSequence(ids, 3, 7, tokenizer, ordinary);
    expect(maskSequence(ids, 3, 7, tokenizer, ordinary)).toEqual(first);
    expect(maskSequence(ids, 4, 7, tokenizer, ordinary).positions).not.toEqual(first.positions);
    expect(maskSequence(ids, 3, 8, tokenizer, ordinary).positions).not.toEqual(first.positions);
  });
});

describe("scores", () => {
  test("of a token: the highest logit, and minus the log of its probability", () => {
    const logits = Float32Array.from([0, Math.log(2), Math.log(5)]);
    expect(scoreToken(logits, 2).correct).toBe(true);
    expect(scoreToken(logits, 2).loss).toBeCloseTo(Math.log(8 / 5), 6);
    expect(scoreToken(logits, 1)).toEqual({ correct: false, loss: expect.closeTo(Math.log(4), 6) as number });
    expect(scoreToken(Float32Array.from([1000, 0]), 1).loss).toBeCloseTo(1000, 3);
  });

  test("NaN logits are never right", () => {
    const score = scoreToken(Float32Array.from([Number.NaN, 1, Number.NaN]), 1);
    expect(score.correct).toBe(false);
    expect(score.loss).toBeNaN();
  });

  test("accuracy, perplexity and the share kept are those of the sums", () => {
    const sequences = [
      { ids: [], positions: [1, 2], targets: [5, 6] },
      { ids: [], positions: [1, 2, 3, 4, 5, 6], targets: [5, 6, 7, 8, 9, 10] },
    ];
    const before = { correct: Float64Array.from([2, 4]), loss: Float64Array.from([1, 3]) };
    const after = { correct: Float64Array.from([1, 2]), loss: Float64Array.from([2, 6]) };
    const compared = compareMasked(sequences, before, after, 0);
    expect(compared).toMatchObject({ maskedTokens: 8 });
    expect(compared.original.accuracy.value).toBe(0.75);
    expect(compared.converted.accuracy.value).toBe(0.375);
    expect(compared.original.perplexity.value).toBeCloseTo(Math.exp(0.5), 12);
    expect(compared.accuracyKept?.value).toBe(0.5);
  });
});

describe("rank correlation", () => {
  test("is Spearman's, with mean ranks for ties", () => {
    expect(rankCorrelation([1, 2, 3], [10, 30, 20])).toBeCloseTo(0.5, 12);
    expect(rankCorrelation([-2, 0, 7, 9], [1, 2, 3, 4000])).toBeCloseTo(1, 12);
    expect(rankCorrelation([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 12);
    // scipy.stats.spearmanr([1, 2, 2, 3], [1, 3, 2, 4])
    expect(rankCorrelation([1, 2, 2, 3], [1, 3, 2, 4])).toBeCloseTo(0.948_683_298, 8);
  });

  test("needs three pairs that are not all equal", () => {
    expect(rankCorrelation([1, 2], [1, 2])).toBeUndefined();
    expect(rankCorrelation([1, 1, 1], [1, 2, 3])).toBeUndefined();
  });
});

const mean = (totals: Float64Array): number => totals[1]! / totals[0]!;

describe("bootstrap over sequences", () => {
  test("for independent units the interval is the normal one", () => {
    // 400 units of one trial each, 100 right: standard error sqrt(0.25 * 0.75 / 400).
    const sums = Float64Array.from({ length: 800 }, (_, i) => (i % 2 === 0 || i < 200 ? 1 : 0));
    const { value, low, high } = bootstrap(sums, 2, mean, 1, 4000);
    const error = 1.96 * Math.sqrt((0.25 * 0.75) / 400);
    expect(value).toBe(0.25);
    expect((high - low) / (2 * error)).toBeGreaterThan(0.9);
    expect((high - low) / (2 * error)).toBeLessThan(1.1);
  });

  test("units that are all alike have an interval of one point; all-or-nothing units have a wide one", () => {
    const alike = Float64Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? 10 : 5));
    expect(bootstrap(alike, 2, mean, 0)).toEqual({ value: 0.5, low: 0.5, high: 0.5 });
    const allOrNothing = Float64Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? 10 : i % 4 === 1 ? 10 : 0));
    const { low, high } = bootstrap(allOrNothing, 2, mean, 0);
    // Counting tokens, the interval would be 0.1 wide; it is sqrt(10) times that.
    expect(high - low).toBeGreaterThan(0.2);
  });
});
