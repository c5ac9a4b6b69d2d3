import { expect, test } from "vitest";

import type { Evaluation } from "../../src/index.ts";
import { judgementOf, lossInPoints, warningsAbout } from "../../src/judgement/index.ts";

const estimate = (value: number) => ({ value, low: value, high: value });
const data = { file: "a.txt", sha256: "b", sequences: 20, tokens: 1, unknown: 0, truncated: 0, seed: 0 };
const quality = (accuracy: number, perplexity: number) => ({
  accuracy: estimate(accuracy),
  perplexity: estimate(perplexity),
});
const codes = (evaluation: Evaluation): string[] => warningsAbout(evaluation).map(({ code }) => code);

const embedding = (cosine: number, kept: number, changes: object = {}): Evaluation => ({
  kind: "embedding",
  data,
  output: "last_hidden_state",
  similarity: "cosine",
  vectors: 20,
  width: 8,
  cosine: estimate(cosine),
  perSequence: [],
  neighbours: { texts: 20, kept: estimate(kept), rankCorrelation: 0.9 },
  byLength: [],
  ...changes,
});

const numbers = (error: number, rankCorrelation: number, byLength: Evaluation["byLength"] = []): Evaluation => ({
  kind: "output-numbers",
  data,
  output: "logits",
  vectors: 20,
  width: 1,
  error: estimate(error),
  rankCorrelation,
  byLength,
});

const binAt = (value: number, low: number, high: number) => ({
  from: 257,
  to: 512,
  sequences: 7,
  value: { value, low, high },
});

test("the worst measure decides, and below the second threshold it is warned of", () => {
  expect(judgementOf(embedding(0.999, 0.97))?.degree).toBe("almost nothing");
  expect(judgementOf(embedding(0.999, 0.9))?.degree).toBe("little");
  expect(judgementOf(embedding(0.97, 0.97))?.worst).toEqual({ measure: "cosine of the embeddings", value: 0.97 });
  expect(codes(embedding(0.981, 0.86))).toEqual([]);
  expect(codes(embedding(0.979, 0.99))).toEqual(["quality-low"]);
  expect(warningsAbout(embedding(0.999, 0.5))[0]?.message).toMatch(
    /^The share of nearest neighbours kept is 50\.0 % \(a\.txt\), below 85\.0 %: much of the original's quality is lost\. /,
  );
});

test("a decoder that keeps its accuracy and loses its probabilities is warned of", () => {
  const evaluation: Evaluation = {
    kind: "next-token",
    data,
    predictedTokens: 100,
    original: quality(0.5, 10),
    converted: quality(0.5, 12),
    accuracyKept: estimate(1),
    byLength: [],
  };
  expect(judgementOf(evaluation)).toEqual({
    degree: "a good part",
    worst: { measure: "perplexity ratio", value: 10 / 12 },
  });
  expect(lossInPoints(evaluation)).toBe(0);
});

test("a range of lengths below the threshold is named, if it certainly is", () => {
  const found = warningsAbout(embedding(0.99, 0.9, { byLength: [binAt(0.9, 0.8, 0.95)] }));
  expect(found.map(({ code }) => code)).toEqual(["quality-low-at-length"]);
  expect(found[0]?.message).toMatch(/^At 257 to 512 tokens, the cosine of the embeddings is 0\.9 \(7 of 20 sequences/);
  expect(codes(embedding(0.99, 0.9, { byLength: [binAt(0.9, 0.8, 0.99)] }))).toEqual([]);
});

test("scores: a small error in the wrong order, and errors by length count from below", () => {
  expect(codes(numbers(0.1, 0.99))).toEqual([]);
  expect(codes(numbers(0.1, 0.9))).toEqual(["quality-low"]);
  expect(codes(numbers(0.3, 0.99))).toEqual(["quality-low"]);
  expect(codes(numbers(0.1, 0.99, [binAt(0.5, 0.4, 0.6)]))).toEqual(["quality-low-at-length"]);
  expect(codes(numbers(0.1, 0.99, [binAt(0.5, 0.1, 0.6)]))).toEqual([]);
});

test("what limits the measure is said", () => {
  const pooling = { modes: ["cls"], after: ["2_Dense"], configured: "mean" };
  expect(codes(embedding(1, 1, { pooling }))).toEqual(["pooling-disagrees", "pooling-incomplete"]);
  const decisions = (commonest: number): Evaluation => ({
    kind: "classification",
    data,
    output: "logits",
    classes: 2,
    decision: "one class",
    vectors: 20,
    agreement: estimate(1),
    commonest,
    byLength: [],
  });
  expect(codes(decisions(0.96))).toEqual(["decisions-one-sided"]);
  expect(codes(decisions(0.6))).toEqual([]);
  expect(codes({ ...decisions(0.6), agreement: estimate(0.9) } as Evaluation)).toEqual(["quality-low"]);
});
