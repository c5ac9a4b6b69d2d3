import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { openModel } from "@favor/onnx/node";
import { OnnxModel } from "@favor/onnx-tfjs";
import { ModelRunner } from "@favor/measure";
import { silent } from "@favor/checkpoints";
import { favorFileSchema } from "@favor/report";
import { calibration, validation } from "@favor/test-support/antibody";
import { repairBackend } from "@favor/tfjs";
import * as tf from "@tensorflow/tfjs";
import { expect, test } from "vitest";

import { tune } from "../src/index.ts";
import { shallowOnce } from "./converted.ts";
import { predictionsOf } from "./predictions.ts";

const { original, converted } = shallowOnce({
  calibrate: calibration,
  calibrateCount: 20,
  features: "landmark",
  count: 8,
  window: 16,
  chosenBlocks: 1,
});

async function favorFile(folder: string) {
  return favorFileSchema.parse(JSON.parse(await readFile(join(folder, "favor.json"), "utf8")));
}

test("features alongside exact keys are distilled: closer to softmax, in the same graph, as onnxruntime computes it", async () => {
  const source = await converted();
  const output = `${source}-tuned`;
  const { favor } = await tune({
    source,
    output,
    teacher: original(),
    data: calibration,
    evalData: validation,
    evalCount: 20,
    stage: "distill",
    steps: 12,
    batch: 4,
    maxLength: 120,
    threads: 1,
    backend: "wasm",
  });
  const { stages } = favor.tuning!;
  const measured = predictionsOf(favor);
  expect(stages[0]!.sites).toHaveLength(1);
  for (const { before, after } of stages[0]!.sites!) expect(after).toBeLessThan(0.95 * before);
  expect(measured.after.perplexity.value).toBeLessThan(1.01 * measured.before.perplexity.value);

  // the exact keys are as they were
  const [before, after] = [await favorFile(source), await favorFile(output)];
  expect(after.sites.map(({ exactKeys }) => exactKeys)).toEqual([{ window: 16, chosenBlocks: 1, group: 16 }]);
  expect(after.sites.map(({ exactKeys }) => exactKeys)).toEqual(before.sites.map(({ exactKeys }) => exactKeys));

  await tf.setBackend("wasm");
  repairBackend();
  const path = join(output, "onnx", "model.onnx");
  const opened = await openModel(path);
  const model = await OnnxModel.load(opened.model);
  const length = 70;
  const ids = Array.from({ length }, (_, i) => 5 + ((7 * i) % 20));
  const runner = await ModelRunner.open(path, { threads: 1, padId: 0 });
  const { logits } = await runner.runAll([ids], ["logits"]);
  await runner.close();
  const feeds = Object.fromEntries(
    model.inputs.map(({ name }) => {
      const values = { attention_mask: ids.map(() => 1), token_type_ids: ids.map(() => 0) }[name] ?? ids;
      return [name, { dims: [1, length], data: Int32Array.from(values) }];
    }),
  );
  const found = model.run(feeds, { outputs: ["logits"] })["logits"]!.dataSync<"float32">();
  const expected = logits!.data as Float32Array;
  const apart = found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
  expect(found).toHaveLength(expected.length);
  expect(apart).toBeLessThan(1e-3);
  model.dispose();
  opened.close();
});

test("sequences of which all keys are exact train no features, and favor-tune says so once", async () => {
  const source = await converted();
  const output = `${source}-short`;
  const notes: string[] = [];
  const { favor } = await tune(
    {
      source,
      output,
      teacher: original(),
      data: calibration,
      evalData: validation,
      evalCount: 20,
      stage: "distill",
      steps: 2,
      batch: 4,
      // up to 48 tokens, three blocks of 16, every key is exact
      maxLength: 48,
      threads: 1,
      backend: "wasm",
    },
    { ...silent, note: (line) => void notes.push(line) },
  );
  expect(notes.filter((line) => line.includes("changed nothing"))).toEqual([
    expect.stringContaining("up to 48 tokens, as many as its longest sequence has, all keys are exact"),
  ]);
  const measured = predictionsOf(favor);
  expect(measured.after.perplexity.value).toBe(measured.before.perplexity.value);
  for (const { before, after } of favor.tuning!.stages[0]!.sites!) expect(after).toBe(before);
});
