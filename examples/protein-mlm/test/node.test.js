import { readFileSync } from "node:fs";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { version_wasm as wasm } from "@tensorflow/tfjs-backend-wasm";
import { expect, it } from "vitest";
import { hideResidues, randomNumbers, readFasta, unigramEntropy, vocabularySize } from "../masking.js";
import { createModel, train, validate } from "../training.js";

const read = (name) => readFasta(readFileSync(new URL(`../data/${name}.fasta`, import.meta.url), "utf8"));
const [sequences, held] = [read("train"), read("validation")];

it("hides 15 % of the residues, of those 80 % as the mask, and no padding", () => {
  const { tokens, labels } = hideResidues(held, randomNumbers(3));
  const [shown, wanted] = [tokens.flat(), labels.flat()];
  const hidden = wanted.filter((label) => label >= 0);
  const residues = held.flat().length;
  expect(hidden.length / residues).toBeCloseTo(0.15, 1);
  expect(shown.filter((token) => token === 1).length / hidden.length).toBeCloseTo(0.8, 1);
  expect(shown.filter((token) => token === 0)).toHaveLength(shown.length - residues);
  expect(Math.min(...hidden)).toBeGreaterThanOrEqual(2);
  expect(Math.max(...hidden, ...shown)).toBeLessThan(vocabularySize);
});

it("on wasm in Node the held-out loss falls below the entropy of single residues", async () => {
  expect(wasm).toBe("4.22.0");
  tf.enableProdMode();
  await tf.setBackend("wasm");
  repairBackend();
  const model = createModel();
  const few = held.slice(0, 24);
  const before = await validate(model, few);
  for await (const { loss } of train(model, sequences, 30)) expect(loss).toBeGreaterThan(0);
  const entropy = unigramEntropy(held);
  expect(before).toBeGreaterThan(entropy);
  expect(await validate(model, few)).toBeLessThan(entropy);
});
