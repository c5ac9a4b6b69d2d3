import { readFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { convert } from "../src/commands/convert.ts";
import type { FavorFile } from "@favor/report";
import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";

const few = { source: tiny, count: 16, calibrate: calibration, calibrateCount: 8 };

async function converted(request: Partial<Parameters<typeof convert>[0]>): Promise<FavorFile> {
  const { favor } = await convert({ ...few, output: await output(), ...request });
  return favor!;
}

/** The share of the accuracy that is kept. */
function kept({ evaluation }: FavorFile): number {
  if (evaluation?.kind !== "masked-language") throw new Error("a masked-language evaluation was expected");
  return evaluation.accuracyKept!.value;
}

/** Points of accuracy lost. */
function loss({ evaluation }: FavorFile): number {
  if (evaluation?.kind !== "masked-language") throw new Error("a masked-language evaluation was expected");
  return 100 * (evaluation.original.accuracy.value - evaluation.converted.accuracy.value);
}

async function output(): Promise<string> {
  return join(await temporaryFolder(), "out");
}

/** The mean error of all sites. */
function meanError({ sites }: FavorFile): number {
  return sites.reduce((sum, { error }) => sum + error!.mean, 0) / sites.length;
}

test("landmarks are the default with calibration data, and nearer to softmax than random features", async () => {
  const measured = { evaluate: validation, evaluateCount: 40 };
  const landmark = await converted(measured);
  const positive = await converted({ ...measured, features: "positive", seeds: 1 });
  expect(landmark.options).toEqual({ features: "landmark", count: 16, seed: 0, refine: 0, keep: [] });
  expect(landmark.sites.map(({ featureMap }) => featureMap)).toEqual(
    [0, 1, 2, 3].map(() => expect.objectContaining({ kind: "landmark", width: 16 })),
  );
  expect(meanError(landmark)).toBeLessThan(0.7 * meanError(positive));
  expect(kept(landmark)).toBeGreaterThan(kept(positive) + 0.02);
});

test("refinement brings landmarks nearer still, and the report says so", async () => {
  const measured = { evaluate: validation, evaluateCount: 20 };
  const folder = await output();
  const refined = await converted({ ...measured, refine: 8, output: folder });
  expect(meanError(refined)).toBeLessThan(0.97 * meanError(await converted(measured)));
  const report = await readFile(join(folder, "report.html"), "utf8");
  expect(report).toContain("16 landmark features per head, fitted to 8 sequences, refined in 8 steps");
  expect(report).toContain("error, worst head");
});

test("of several draws the better one stays, and favor.json says which", async () => {
  const one = await converted({ features: "positive", seeds: 1 });
  const best = await converted({ features: "positive", seeds: 4 });
  expect(meanError(best)).toBeLessThan(meanError(one));
  const epochs = best.sites.flatMap(({ featureMap }) => featureMap?.projection?.epochs ?? []);
  expect(epochs).toHaveLength(16);
  expect(new Set(epochs).size).toBeGreaterThan(1);
});

test("a budget keeps the layers of the largest errors, no more of them than it takes", async () => {
  const plain = { source: tiny, evaluate: validation, evaluateCount: 30, count: 64 };
  const all = (await convert({ ...plain, output: await output() })).favor!;
  const budget = loss(all) / 2;
  const some = (await convert({ ...plain, output: await output(), budget })).favor!;
  expect(loss(some)).toBeLessThanOrEqual(budget);
  const softmax = some.sites.filter(({ because }) => because === "kept");
  expect(softmax.length).toBeGreaterThan(0);
  expect(softmax.length).toBeLessThan(4);
  const errors = all.sites.map(({ error }) => error!.mean);
  const least = Math.min(...softmax.map(({ site }) => errors[site]!));
  const rest = some.sites.filter(({ state }) => state === "linear").map(({ site }) => errors[site]!);
  expect(Math.max(...rest)).toBeLessThanOrEqual(least);

  const answer = await favorConvert(
    tiny,
    "-o",
    await output(),
    "--count",
    "8",
    "--features",
    "trigonometric",
    "--budget",
    "0",
    "--evaluate",
    validation,
    "--evaluate-count",
    "30",
    "--quiet",
  );
  expect(answer.status).toBe(3);
  expect(answer.stderr).toMatch(/No layer can be converted within a loss of 0 points: the smallest loss found is/);
});

test.each([
  [["--features", "landmark"], "--calibrate"],
  [["--calibrate", calibration, "--projection", "iid"], "--projection"],
  [["--refine", "3"], "--features landmark"],
  [["--calibrate", calibration, "--seeds", "3"], "--features positive"],
  [["--budget", "1"], "--evaluate"],
  [["--stateful", "--evaluate", validation], "without --stateful"],
  [["--budget", "-1", "--evaluate", validation], "from 0 to 100"],
  [["--features", "relu", "--calibrate", calibration], "nothing to calibrate"],
])("options that contradict each other: %j", async (options, advice) => {
  const answer = await favorConvert(tiny, "-o", await output(), ...options);
  expect(answer.status).toBe(2);
  expect(answer.stderr).toContain(advice);
});

test("--key-factor needs features that are a function, and is recorded", async () => {
  const refused = await favorConvert(tiny, "-o", await output(), "--key-factor", "exp-half-square");
  expect(refused.status).toBe(2);
  expect(refused.stderr).toContain("--key-factor multiplies the features of generalized attention (relu, exp");
  const options = ["--features", "relu", "--count", "16", "--key-factor", "exp-half-square"];
  const answer = await favorConvert(tiny, "-o", await output(), ...options, "--speed", "none", "--json", "--quiet");
  expect(answer.status).toBe(0);
  expect(JSON.parse(answer.stdout)).toMatchObject({
    favor: { options: { features: "relu", keyFactor: "exp-half-square" } },
  });
});

test.each(["relu", "elu", "hyperbolic", "oprf", "trigonometric-pair"])(
  "--features %s is converted, measured and recorded",
  async (features) => {
    const answer = await favorConvert(
      tiny,
      "-o",
      await output(),
      "--features",
      features,
      "--count",
      "16",
      "--evaluate",
      validation,
      "--evaluate-count",
      "5",
      "--speed",
      "none",
      "--json",
      "--quiet",
    );
    expect(answer.status).toBe(0);
    const { favor } = JSON.parse(answer.stdout) as { favor: FavorFile };
    expect(favor.options.features).toBe(features);
    expect(favor.sites.every(({ error }) => Number.isFinite(error?.mean))).toBe(true);
  },
);

test("options of causal attention reach the graph: a bidirectional model cannot be stateful", async () => {
  const answer = await favorConvert(tiny, "-o", await output(), "--stateful", "--target", "onnxruntime", "--cross");
  expect(answer.status).toBe(3);
  expect(answer.stderr).toContain("is not causal");
  const { favor } = await convert({
    source: tiny,
    output: await output(),
    count: 16,
    cross: true,
    projection: "givens",
  });
  expect(favor!.options).toMatchObject({ cross: true, projection: "givens" });
  expect(favor!.sites[0]!.featureMap).toMatchObject({ kind: "positive", projection: { kind: "givens" } });
});
