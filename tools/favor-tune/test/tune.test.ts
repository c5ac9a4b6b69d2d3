import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";

import { encodeModel, tensorValues } from "@favor/onnx";
import { openModel } from "@favor/onnx/node";
import { verify } from "favor-convert";
import { favorFileSchema } from "@favor/report";
import { short } from "@favor/measure/numbers";
import type { FavorFile } from "@favor/report";
import { expect, test } from "vitest";

import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { calibrated, convertedOnce } from "./converted.ts";
import { predictionsOf } from "./predictions.ts";
import { favorTune } from "./terminal.ts";

const converted = convertedOnce(calibrated);
const hybrid = convertedOnce({ ...calibrated, keep: [1] });

/** Seconds, not minutes. */
const quick = ["--max-length", "48", "--batch", "8", "--backend", "wasm"];

async function favorFile(folder: string): Promise<FavorFile> {
  return favorFileSchema.parse(JSON.parse(await readFile(join(folder, "favor.json"), "utf8")));
}

/** The graph without its weights, and the weights by name. */
async function parts(folder: string): Promise<{ graph: Buffer; weights: Map<string, string> }> {
  const opened = await openModel(join(folder, "onnx", "model.onnx"));
  const { graph } = opened.model;
  const weights = graph.initializer.map(
    (tensor) =>
      [tensor.name, Buffer.from(new Uint8Array(tensorValues(tensor).data.buffer)).toString("base64")] as const,
  );
  const bare = encodeModel({ ...opened.model, graph: { ...graph, initializer: [] } });
  opened.close();
  return { graph: Buffer.from(bare), weights: new Map(weights) };
}

test("both stages and the control: better on data that was not trained on, and a folder that verifies", async () => {
  const folder = await converted();
  const data = ["--data", calibration, "--eval-data", validation, "--eval-count", "40", "--teacher", tiny];
  const answer = await favorTune(folder, ...data, ...quick, "--steps", "4", "--eval-every", "2", "--control");
  expect(answer.stderr).toContain("Training on wasm");
  expect(answer.status).toBe(0);
  expect(answer.stdout).toContain("original, tuned in the same way (control)");
  expect(answer.stdout).toMatch(
    /Distillation: the mean error of 4 attentions went from 0\.\d+ to 0\.\d+ of the output/,
  );
  const output = `${folder}-tuned`;
  const written = await favorFile(output);
  const { tuning, evaluation } = written;
  expect(tuning?.curve.map(({ step }) => step)).toEqual([0, 2, 4, 6, 8]);
  expect(tuning?.controlCurve?.map(({ step }) => step)).toEqual([4, 6, 8]);
  const { before, after, original, control, maskedTokens } = predictionsOf(written);
  expect(after.perplexity.value).toBeLessThan(before.perplexity.value);
  expect(original!.accuracy.value).toBeGreaterThan(after.accuracy.value);
  expect(control!.perplexity.value).not.toBe(original!.perplexity.value);
  expect(evaluation).toMatchObject({ kind: "masked-language", maskedTokens });
  expect((await readdir(output)).toSorted()).toEqual([
    "LICENSE.txt",
    "README.md",
    "config.json",
    "favor.json",
    "log.jsonl",
    "onnx",
    "report.html",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
  ]);
  const card = await readFile(join(output, "README.md"), "utf8");
  expect(card).toMatch(
    /^Tuned with favor-tune\. Masked accuracy [\d.]+ % before and [\d.]+ % after 4 steps of distillation/m,
  );
  expect(card).not.toMatch(/Not measured|Warning/);
  // What was measured before tuning says nothing of what it made.
  const { warnings, sites } = await favorFile(output);
  expect((await favorFile(folder)).warnings).toBeDefined();
  expect(warnings).toBeUndefined();
  expect(sites.every(({ error }) => error === undefined)).toBe(true);
  const report = await readFile(join(output, "report.html"), "utf8");
  expect(report).toContain("Masked accuracy on held-out data");
  const [distilled, tunedStage] = tuning!.stages;
  expect(tunedStage!.sites).toBeUndefined();
  expect(distilled!.sites!.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
  for (const site of distilled!.sites!) {
    expect(site.after).toBeGreaterThan(0);
    expect(site.after).toBeLessThan(site.before);
    expect(report).toContain(`<td class="number">${short(site.after)}</td>`);
  }
  // 1e-4 at most, and this model is 128 wide.
  expect(tunedStage!.learningRate).toBe(1e-4);
  expect(report).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
  // Trained on shorter sequences than verify reads: the files and the padding are checked, not the quality.
  const { checks } = await verify({ original: tiny, converted: output, threads: 1 });
  expect(checks.filter(({ passed }) => !passed)).toEqual([]);
  const [old, tuned] = [await parts(folder), await parts(output)];
  expect(tuned.graph.equals(old.graph)).toBe(true);
  const changed = [...old.weights].filter(([name, values]) => tuned.weights.get(name) !== values).map(([name]) => name);
  expect(changed.some((name) => name.startsWith("favor/omega_query"))).toBe(true);
  expect(changed.some((name) => name.startsWith("bert."))).toBe(true);
  expect(changed.some((name) => /favor\/(scalar|axes)/.test(name))).toBe(false);
});

test("a hybrid says what it can do without its softmax layers; --train features changes nothing else", async () => {
  const folder = await hybrid();
  const stage = ["--stage", "mlm", "--train", "features", "--steps", "1", "--seed", "3", "--eval-count", "10"];
  const { status, stdout } = await favorTune(folder, "--data", validation, ...stage, ...quick, "--json", "--quiet");
  expect(status).toBe(0);
  const { favor } = JSON.parse(stdout) as { favor: FavorFile };
  expect(await readFile(join(`${folder}-tuned`, "report.html"), "utf8")).toContain("Without the softmax that is left");
  const { ablated, before } = predictionsOf(favor);
  expect(ablated?.layers).toEqual([1]);
  expect(ablated!.before.perplexity.value).toBeGreaterThan(before.perplexity.value);
  expect(favor.tuning!.data.heldOut).toBeGreaterThan(0);
  const [old, tuned] = [await parts(folder), await parts(`${folder}-tuned`)];
  const changed = [...old.weights].filter(([name, values]) => tuned.weights.get(name) !== values).map(([name]) => name);
  expect(changed.length).toBeGreaterThan(0);
  expect(changed.every((name) => name.startsWith("favor/"))).toBe(true);
});
