import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { encodeModel } from "@favor/onnx";
import { Corpus, makeCase, runCase, runSynonym, type Outcome } from "../src/soundness/case.ts";
import { readSeeds } from "../src/soundness/corpus.ts";

const corpus = new Corpus(readSeeds(join(fileURLToPath(new URL("..", import.meta.url)), "zoo")));

async function outcomes(run: typeof runCase): Promise<Outcome[]> {
  const found: Outcome[] = [];
  for (let index = 0; index < 40; index++) found.push(await run(corpus, 0, index));
  return found;
}

const bytes = async (seed: number, index: number): Promise<Uint8Array> =>
  encodeModel((await makeCase(corpus, seed, index)).model);

const withResult = (found: readonly Outcome[], ...results: Outcome["result"][]): Outcome[] =>
  found.filter(({ result }) => results.includes(result));

test("attention that computes something else is refused, or gives the same outputs written again", async () => {
  const found = await outcomes(runCase);
  expect(withResult(found, "unsound", "crash")).toEqual([]);
  // Both ways are taken.
  expect(withResult(found, "equal").length).toBeGreaterThan(0);
  expect(withResult(found, "refused").length).toBeGreaterThan(0);
});

test("attention that is written otherwise is converted as before", async () => {
  const found = await outcomes(runSynonym);
  expect(withResult(found, "unsound", "crash", "lost", "not a synonym")).toEqual([]);
  expect(withResult(found, "equal").length).toBeGreaterThan(0);
});

test("a case is the same at every run, and another for another seed or index", async () => {
  expect(await bytes(7, 42)).toEqual(await bytes(7, 42));
  expect(await bytes(7, 43)).not.toEqual(await bytes(7, 42));
  expect(await bytes(8, 42)).not.toEqual(await bytes(7, 42));
});
