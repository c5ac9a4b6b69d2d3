import { expect, test } from "vitest";
import { makeCase, runCase } from "../src/fuzz/case.ts";
import { defaultCorpus, readCorpus } from "../src/fuzz/corpus.ts";

const corpus = readCorpus(defaultCorpus());

const atLeastThree = (count: number): boolean => count >= 3;

test("mutated models are inspected or refused, never a crash", () => {
  const crashes: string[] = [];
  const results = new Map<string, number>();
  for (let index = 0; index < 100; index++) {
    const { result, stack } = runCase(corpus, 0, index, false);
    results.set(result, (results.get(result) ?? 0) + 1);
    if (result === "crash") crashes.push(`case ${index}: ${stack}`);
  }
  expect(crashes).toEqual([]);
  // Both ways are taken, about equally often, and files are refused for what is wrong with their bytes and their graphs.
  const inspected = results.get("inspected") ?? 0;
  expect(inspected).toBeGreaterThan(30);
  expect(inspected).toBeLessThan(70);
  for (const code of ["malformed", "truncated", "undefined-value"]) {
    expect({ code, count: results.get(code) ?? 0 }).toEqual({ code, count: expect.toSatisfy(atLeastThree) as number });
  }
});

test("a case is the same at every run, and another for another seed or index", () => {
  const { bytes } = makeCase(corpus, 7, 42);
  expect(makeCase(corpus, 7, 42).bytes).toEqual(bytes);
  expect(makeCase(corpus, 7, 43).bytes).not.toEqual(bytes);
  expect(makeCase(corpus, 8, 42).bytes).not.toEqual(bytes);
});
