import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { beforeAll, describe, expect, test } from "vitest";
import type { ZooEntry } from "@favor/test-support/zoo/manifest";
import { OnnxModel } from "../../src/index.ts";
import { backends } from "@favor/test-support/backends";
import {
  coreZoo,
  isConvertible,
  readModel,
  readSample,
  sharedZoo,
  validDifference,
  type ZooFolder,
} from "./samples.ts";

/** The largest difference of each output from the expected one, over the entry's tolerance; what leaks. */
async function deviations(folder: ZooFolder, entry: ZooEntry, samples: number): Promise<Record<string, number>> {
  const before = tf.memory().numTensors;
  const model = await OnnxModel.load(readModel(folder, entry));
  const worst: Record<string, number> = {};
  for (const sample of entry.samples.slice(0, samples)) {
    const { feeds, expected, mask } = readSample(folder, sample);
    const results = model.run(feeds, { outputs: [...expected.keys()] });
    for (const [name, value] of expected) {
      const tensor = results[name]!;
      const found = { dims: tensor.shape, values: tensor.dataSync() };
      const difference = validDifference(found, value, mask) / entry.tol;
      if (!(difference <= 1)) worst[name] = difference;
      tensor.dispose();
    }
  }
  model.dispose();
  const leaked = tf.memory().numTensors - before;
  return leaked === 0 ? worst : { ...worst, leaked };
}

function describeZoo(folder: ZooFolder, entries: readonly ZooEntry[], backend: string, samples: number): void {
  beforeAll(async () => {
    await tf.setBackend(backend);
    repairBackend();
  });
  test.each(entries)("$name gives its expected outputs", async (entry) => {
    expect(await deviations(folder, entry, samples)).toEqual({});
  });
}

const core = coreZoo.entries.filter(isConvertible);
describe("the core of the zoo", () => {
  test("has models to convert", () => expect(core.length).toBeGreaterThan(40));
});
describe.each(backends)("the core of the zoo on %s", (backend) => {
  describeZoo(coreZoo, core, backend, 2);
});

/** Its mask multiplies by the smallest float32 in bfloat16, where that is -Infinity: 0 times it is NaN. */
const faulty = "bert-ts113-eager-op16-bf16";
const others = sharedZoo.entries.filter((entry) => isConvertible(entry) && !entry.core && entry.name !== faulty);
describe.skipIf(others.length === 0)("the rest of the zoo on wasm (skipped if ../shared/zoo is absent)", () => {
  describeZoo(sharedZoo, others, "wasm", 1);
});
