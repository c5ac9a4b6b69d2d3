import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { decodeModel, encodeModel } from "@favor/onnx";
import { Choices } from "../src/fuzz/random.ts";
import { attendingTrials } from "../src/soundness/attending.ts";
import { Bench } from "../src/soundness/bench.ts";
import { readSeeds, valueShapes, type Seed } from "../src/soundness/corpus.ts";
import { drawTrials } from "../src/soundness/feeds.ts";
import { tensorOf } from "../src/soundness/runtime.ts";
import { sharpen } from "../src/soundness/sharpen.ts";

const seeds = readSeeds(join(fileURLToPath(new URL("..", import.meta.url)), "zoo"));

function seedOf(name: string): Seed {
  const found = seeds.find((seed) => seed.name === name);
  if (found === undefined) throw new Error(`no model ${name} in the core zoo`);
  return found;
}

/** The seed with logits that spread by so much. */
async function spreading(seed: Seed, spread: number): Promise<Uint8Array> {
  const bench = new Bench(decodeModel(seed.bytes), await valueShapes(seed), new Choices(0, 0));
  sharpen(bench, spread);
  bench.sort();
  return encodeModel(bench.model);
}

test.each(["bert-ts-eager-op17-dyn", "TFbert-tf2onnx-op15-dyn"])(
  "%s: padding leaves something to attend to",
  async (name) => {
    const seed = seedOf(name);
    const trials = drawTrials(seed, new Choices(0, 0));
    expect(await attendingTrials(seed.bytes, trials)).toEqual(trials.map(() => true));
    expect(await attendingTrials(await spreading(seed, 5), trials)).toEqual(trials.map(() => true));
  },
);

test("logits that float32 has no digits for, and rows whose keys are all hidden, say nothing", async () => {
  const seed = seedOf("bert-ts-eager-op17-dyn");
  const trials = drawTrials(seed, new Choices(0, 0));
  expect(await attendingTrials(await spreading(seed, 1e9), trials)).toEqual(trials.map(() => false));
  const feeds = Object.fromEntries([...seed.sample].map(([name, array]) => [name, tensorOf(array)]));
  const mask = feeds["attention_mask"]!;
  (mask.data as BigInt64Array).fill(0n);
  expect(await attendingTrials(seed.bytes, [{ feeds }])).toEqual([false]);
});
