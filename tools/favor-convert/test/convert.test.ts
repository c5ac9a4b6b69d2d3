import { existsSync } from "node:fs";
import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { describe, expect, test } from "vitest";

import { convert } from "../src/commands/convert.ts";
import { verify } from "../src/commands/verify.ts";
import { ModelRunner } from "@favor/measure";
import { favorFileSchema } from "@favor/report";
import type { FavorFile } from "@favor/report";
import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { withModel, withoutHead } from "./edited-models.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { favorConvert } from "./favor-convert.ts";

async function outputFolder(): Promise<string> {
  return join(await temporaryFolder(), "out");
}

async function favorFileOf(folder: string): Promise<FavorFile> {
  return favorFileSchema.parse(JSON.parse(await readFile(join(folder, "favor.json"), "utf8")));
}

/** Every file of a folder with its contents. */
async function contentsOf(folder: string): Promise<Map<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const contents = new Map<string, string>();
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    contents.set(path.slice(folder.length), await readFile(path, "latin1"));
  }
  return contents;
}

const calibrated = {
  source: tiny,
  features: "positive",
  seeds: 1,
  calibrate: calibration,
  calibrateCount: 60,
  evaluate: validation,
  evaluateCount: 100,
} as const;

describe("a calibrated conversion with evaluation", () => {
  test("keeps most of the accuracy, which plain features do not, and says so in every place", async () => {
    const output = await outputFolder();
    const { folder, favor } = await convert({ ...calibrated, output });
    expect(folder).toBe(output);
    expect((await readdir(output)).toSorted()).toEqual(
      [
        "LICENSE.txt",
        "README.md",
        "config.json",
        "favor.json",
        "onnx",
        "report.html",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
      ].toSorted(),
    );
    expect(await favorFileOf(output)).toEqual(favor);
    expect(favor).toMatchObject({
      source: { name: "checkpoint", model: "onnx/model.onnx", bytes: 3605200 },
      options: { features: "positive", count: 256, projection: "orthogonal", seed: 0, seeds: 1, keep: [] },
      calibration: { file: "calibration.fasta", sequences: 60 },
    });
    expect(favor!.sites.map(({ state, layer }) => [state, layer])).toEqual(
      [0, 1, 2, 3].map((layer) => ["linear", layer]),
    );
    expect(favor!.sites[3]!.featureMap).toMatchObject({
      kind: "calibrated",
      width: 256,
      projection: { kind: "orthogonal", count: 256, seed: 0 },
    });

    const { evaluation } = favor!;
    if (evaluation?.kind !== "masked-language") throw new Error("a masked-language evaluation was expected");
    // Measured with these seeds: 0.78 for softmax, 0.94 of it kept; plain positive features keep 0.55.
    expect(evaluation.maskedTokens).toBeGreaterThan(1500);
    expect(evaluation.original.accuracy.value).toBeGreaterThan(0.75);
    expect(evaluation.accuracyKept!.value).toBeGreaterThan(0.9);
    const plain = await convert({
      source: tiny,
      evaluate: validation,
      evaluateCount: 100,
      output: await outputFolder(),
    });
    if (plain.favor?.evaluation?.kind !== "masked-language")
      throw new Error("a masked-language evaluation was expected");
    expect(plain.favor.evaluation.original).toEqual(evaluation.original);
    expect(plain.favor.evaluation.accuracyKept!.value).toBeLessThan(0.75);

    const share = `${(evaluation.converted.accuracy.value * 100).toFixed(1)} %`;
    for (const name of ["report.html", "README.md"])
      expect(await readFile(join(output, name), "utf8")).toContain(share);
  });

  test("the same command writes the same bytes; another seed another model", async () => {
    const [first, second, third] = [await outputFolder(), await outputFolder(), await outputFolder()];
    await convert({ ...calibrated, output: first });
    await convert({ ...calibrated, output: second });
    expect(await contentsOf(second)).toEqual(await contentsOf(first));
    await convert({ ...calibrated, seed: 1, output: third });
    expect((await favorFileOf(third)).model.sha256).not.toBe((await favorFileOf(first)).model.sha256);
  });
});

test("the report loads nothing, runs nothing, and escapes what the model brings", async () => {
  const folder = await withModel((model) => {
    for (const node of model.graph!.node)
      if (node.opType === "Softmax") node.name = `<script>alert("${node.name}")</script>`;
  });
  const output = await outputFolder();
  await convert({ source: folder, output, count: 16 });
  const report = await readFile(join(output, "report.html"), "utf8");
  expect(report).toContain("&lt;script&gt;alert(&quot;");
  expect(report).not.toMatch(/<script|<link|<img|<iframe|\bon\w+=|url\((?!#)|@import/i);
  expect(report.replaceAll(/xmlns(:\w+)?="[^"]*"/g, "")).not.toMatch(/https?:/);
  expect(report.match(/<svg /g)).toHaveLength(1);
  const ids = [...report.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
});

test("exact attention passes verification with the original's outputs", async () => {
  const output = await outputFolder();
  await convert({ source: tiny, output, features: "exact" });
  const { passed, checks } = await verify({ original: tiny, converted: output });
  expect(checks.map(({ name, passed: each }) => [name, each])).toEqual([
    ["source is the one that was converted", true],
    ["model is unchanged", true],
    ["attention may be replaced", true],
    ["inputs and outputs match the original's", true],
    ["padding changes nothing", true],
    ["exact attention gives the original's outputs", true],
  ]);
  expect(passed).toBe(true);
});

test("kept layers stay softmax", async () => {
  const output = await outputFolder();
  const { sites, favor } = await convert({ source: tiny, output, count: 16, keep: [3, 0, 3] });
  expect(sites.map(({ state }) => state)).toEqual(["unchanged", "linear", "linear", "unchanged"]);
  expect(favor!.options.keep).toEqual([0, 3]);
  expect(await readFile(join(output, "report.html"), "utf8")).toContain("kept on request");
});

test("a longer position table: config and tokenizer say it, and the model takes it", async () => {
  const output = await outputFolder();
  await convert({ source: tiny, output, count: 16, maxLength: 700 });
  expect(JSON.parse(await readFile(join(output, "config.json"), "utf8"))).toMatchObject({
    max_position_embeddings: 700,
  });
  expect(JSON.parse(await readFile(join(output, "tokenizer_config.json"), "utf8"))).toMatchObject({
    model_max_length: 700,
  });
  const runner = await ModelRunner.open(join(output, "onnx", "model.onnx"));
  const { length, data } = await runner.run([Array.from({ length: 700 }, (_, i) => 5 + (i % 20))], "logits");
  await runner.close();
  expect(length).toBe(700);
  expect(data.every(Number.isFinite)).toBe(true);
});

test("a model without a language-model head is compared by the cosine of its outputs", async () => {
  const source = await withModel(withoutHead);
  const request = { evaluate: validation, evaluateCount: 20, source };
  const exact = await convert({ ...request, features: "exact", output: await outputFolder() });
  const plain = await convert({ ...request, count: 64, output: await outputFolder() });
  const [a, b] = [exact.favor!.evaluation, plain.favor!.evaluation];
  if (a?.kind !== "output-cosine" || b?.kind !== "output-cosine") throw new Error("a cosine was expected");
  expect(a.cosine.value).toBeCloseTo(1, 5);
  expect(a.vectors).toBe(a.data.tokens);
  expect(b.cosine.value).toBeLessThan(0.99);
  expect(b.perSequence).toHaveLength(20);
});

describe("verify", () => {
  test("finds the recorded quality again; a changed model and another source fail with exit code 4", async () => {
    const output = await outputFolder();
    await convert({ ...calibrated, output });
    const again = await favorConvert("verify", tiny, output, "--data", validation, "--json", "--quiet");
    expect(again.status).toBe(0);
    expect(JSON.parse(again.stdout)).toMatchObject({ passed: true, evaluation: { data: { sequences: 100 } } });
    expect(again.stdout).toContain("recorded quality is reproduced");

    const other = await withModel((model) => {
      model.producerName = "somebody else";
    });
    const wrongSource = await favorConvert("verify", other, output, "--quiet");
    expect(wrongSource.status).toBe(4);
    expect(wrongSource.stdout).toMatch(/FAILED +source is the one that was converted/);

    const model = join(output, "onnx", "model.onnx");
    const bytes = await readFile(model);
    // The middle of the file is a weight: it still loads and runs.
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(model, bytes);
    const changed = await favorConvert("verify", tiny, output, "--quiet");
    expect(changed.status).toBe(4);
    expect(changed.stdout).toMatch(/FAILED +model is unchanged/);
    await writeFile(model, bytes.subarray(0, 1000));
    const broken = await favorConvert("verify", tiny, output, "--data", validation, "--quiet");
    expect(broken.status).toBe(4);
    expect(broken.stdout).toMatch(/FAILED +model runs in onnxruntime/);
  });

  test("a folder that favor-convert did not write is refused", async () => {
    expect(await favorConvert("verify", tiny, tiny, "--quiet")).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("favor.json does not exist") as string,
    });
  });
});

test("a dry run reports the sites and writes nothing", async () => {
  const output = await outputFolder();
  const options = ["--dry-run", "--keep", "0", "--quiet"];
  const answer = await favorConvert(tiny, "-o", output, ...options);
  expect(answer.status).toBe(0);
  expect(answer.stdout).toContain("Dry run: nothing was written.");
  expect(answer.stdout.match(/│ padding │ linear +│/g)).toHaveLength(3);
  expect(answer.stdout).not.toContain("data files");
  const withData = await favorConvert(tiny, "-o", output, "--evaluate", validation, ...options);
  expect(withData.stdout).toContain("The data files were not read: a dry run fits and measures nothing.");
  const missing = await favorConvert(tiny, "--calibrate", "/nowhere.fasta", "--dry-run", "--quiet");
  expect(missing.status).toBe(3);
  expect(missing.stderr).toMatch(/nowhere\.fasta cannot be read/);
  expect(existsSync(output)).toBe(false);
});

test("inspect lists every site, as a table and as JSON", async () => {
  expect((await favorConvert("inspect", tiny)).stdout).toContain("4 of 4 attention sites can be replaced");
  const { sites } = JSON.parse((await favorConvert("inspect", tiny, "--json")).stdout) as { sites: unknown[] };
  expect(sites).toHaveLength(4);
  expect(sites[2]).toMatchObject({
    layer: 2,
    kind: "self",
    heads: 4,
    headDim: 32,
    mask: { kind: "padding" },
    verdict: "convert",
  });
});

test("a config.json that contradicts the graph is noted, and the graph counts", async () => {
  const folder = await withModel(() => {});
  const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as object;
  await writeFile(
    join(folder, "config.json"),
    JSON.stringify({ ...config, num_attention_heads: 8, num_hidden_layers: 6 }),
  );
  const { stdout } = await favorConvert("inspect", folder);
  expect(stdout).toContain("config.json says 8 attention heads, but the graph has 4 in layer 0. The graph counts.");
  expect(stdout).toContain("config.json says 6 layers, but the graph has 4 self-attention sites.");
});

test("an .onnx file alone is a source; progress goes to stderr, the result to stdout", async () => {
  const output = await outputFolder();
  const answer = await favorConvert(join(tiny, "onnx", "model.onnx"), "-o", output, "--count", "16");
  expect(answer).toMatchObject({ status: 0 });
  expect(answer.stderr).toBe("Reading the model ...\nRewriting the attention ...\nWriting the folder ...\n");
  expect(answer.stdout).toContain(`Wrote ${output}`);
  expect(answer.stdout + answer.stderr).not.toContain("\u001B");
});
