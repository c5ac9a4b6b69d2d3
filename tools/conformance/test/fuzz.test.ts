import { expect, test } from "vitest";
import { makeCase, runCase } from "../src/fuzz/case.ts";
import { defaultCorpus, readCorpus } from "../src/fuzz/corpus.ts";

const corpus = readCorpus(defaultCorpus());

test("mutated models are inspected or refused, never a crash", () => {
  const crashes: string[] = [];
  const results = new Map<string, number>();
  for (let index = 0; index < 100; index++) {
    const { result, stack } = runCase(corpus, 0, index, false);
    results.set(result, (results.get(result) ?? 0) + 1);
    if (result === "crash") crashes.push(`case ${index}: ${stack}`);
  }
  expect(crashes).toEqual([]);
  // Both ways are taken.
  expect(results.get("inspected")).toBeGreaterThan(0);
  expect(results.size).toBeGreaterThan(1);
});

test("a case is the same at every run, and another for another seed or index", () => {
  const { bytes } = makeCase(corpus, 7, 42);
  expect(makeCase(corpus, 7, 42).bytes).toEqual(bytes);
  expect(makeCase(corpus, 7, 43).bytes).not.toEqual(bytes);
  expect(makeCase(corpus, 8, 42).bytes).not.toEqual(bytes);
});
