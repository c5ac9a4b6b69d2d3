import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { ModelRunner } from "@favor/measure";
import type { FavorFile } from "@favor/report";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { readNpz } from "@favor/test-support/zoo/npz";

import { convert } from "../src/commands/convert.ts";
import { verify } from "../src/commands/verify.ts";
import { favorConvert } from "./favor-convert.ts";

/** Checkpoints as people have them (a README in each says what is right). */
const caseFolder = (name: string): string => fileURLToPath(new URL(`cases/${name}`, import.meta.url));

async function converted(name: string, options: Partial<Parameters<typeof convert>[0]>): Promise<string> {
  const output = join(await temporaryFolder(), "converted");
  await convert({ source: caseFolder(name), output, ...options, dryRun: false });
  return output;
}

/** Converts a case, calibrated and evaluated on its own data. */
async function measured(source: string, data: string): Promise<{ favor: FavorFile; output: string }> {
  const output = join(await temporaryFolder(), "converted");
  const { favor } = await convert({ source, output, calibrate: data, evaluate: data, count: 16, dryRun: false });
  return { favor, output };
}

describe("mask-true-is-padding", () => {
  const original = caseFolder("mask-true-is-padding");
  const data = join(original, "data.txt");

  test("exact attention is verified with the padding hidden, not the tokens", async () => {
    const folder = await converted("mask-true-is-padding", { features: "exact" });
    const { passed, checks } = await verify({ original, converted: folder, data });
    expect(checks.filter((check) => !check.passed)).toEqual([]);
    expect(passed).toBe(true);
  });

  test("the model sees its tokens: what it is fed gives the outputs of expected.npz", async () => {
    const arrays = readNpz(new Uint8Array(await readFile(join(original, "expected.npz"))));
    const numbers = (name: string): ArrayBuffer => arrays.get(name)!.bytes.slice().buffer as ArrayBuffer;
    const [batch, length] = arrays.get("tokens")!.dims as readonly [number, number];
    const tokens = new BigInt64Array(numbers("tokens"));
    const isPadding = new Uint8Array(numbers("padding_mask"));
    const expected = new Float32Array(numbers("output"));
    const rows = Array.from({ length: batch }, (_, row) =>
      [...tokens.subarray(row * length, (row + 1) * length)]
        .map(Number)
        .filter((__, at) => !isPadding[row * length + at]),
    );
    const runner = await ModelRunner.open(join(original, "onnx", "model.onnx"), { threads: 1 });
    const { data: found, width } = await runner.run(rows, "logits", length);
    await runner.close();
    for (const [row, ids] of rows.entries()) {
      const start = row * length * width;
      for (let i = start; i < start + ids.length * width; i++) expect(found[i]).toBeCloseTo(expected[i]!, 3);
    }
    expect(isPadding.includes(1)).toBe(true);
  });

  test("calibration and evaluation see the same", async () => {
    const { favor, output } = await measured(original, data);
    expect(favor.evaluation).toMatchObject({ kind: "masked-language" });
    // Random weights: the measurement says so.
    expect(favor.warnings?.map(({ code }) => code)).toContain("original-at-chance");
    const { passed } = await verify({ original, converted: output, data });
    expect(passed).toBe(true);
  });
});

describe("gpt2-n-positions", () => {
  const original = caseFolder("gpt2-n-positions");
  const data = join(original, "data.txt");

  test("a line longer than the position table gives windows, which the report and verify know", async () => {
    const output = join(await temporaryFolder(), "o");
    const { status, stderr } = await favorConvert(original, "-o", output, "--evaluate", data, "--speed", "none");
    expect(status).toBe(0);
    expect(stderr).toMatch(
      /Evaluation data: 1 of the \d+ sequences? of data\.txt .*windows of 24 tokens.*--max-length.*--truncate/,
    );
    const favor = JSON.parse(await readFile(join(output, "favor.json"), "utf8")) as FavorFile;
    expect(favor.evaluation?.data).toMatchObject({ windows: 1, windowTokens: 24, truncated: 0 });
    expect(await readFile(join(output, "report.html"), "utf8")).toContain("1 window of longer ones");
    const { checks } = await verify({ original, converted: output, data });
    expect(checks.filter((check) => !check.passed)).toEqual([]);
  });

  test("--max-length makes the windows shorter", async () => {
    const { favor } = await convert({
      source: original,
      output: join(await temporaryFolder(), "o"),
      count: 8,
      evaluate: data,
      maxLength: 10,
    });
    expect(favor?.evaluation?.data).toMatchObject({ windowTokens: 10 });
  });

  test("or cut, and verify cuts its probes as well", async () => {
    const folder = await converted("gpt2-n-positions", { evaluate: data, truncate: true });
    const { checks } = await verify({ original, converted: folder, data });
    expect(checks.filter((check) => !check.passed)).toEqual([]);
  });

  test("--max-length writes the key that config.json has", async () => {
    const folder = await converted("gpt2-n-positions", { maxLength: 96 });
    const config = JSON.parse(await readFile(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
    expect(config["n_positions"]).toBe(96);
    expect(config).not.toHaveProperty("max_position_embeddings");
    const { checks } = await verify({ original, converted: folder });
    expect(checks.filter((check) => !check.passed)).toEqual([]);
  });
});

describe("one-score-output", () => {
  const original = caseFolder("one-score-output");
  const data = join(original, "data.txt");

  test("scores are compared by their distance and their order, not by a cosine", async () => {
    const { favor, output } = await measured(original, data);
    expect(favor.evaluation).toMatchObject({ kind: "output-numbers", output: "logits", width: 1, vectors: 60 });
    const { checks, evaluation } = await verify({ original, converted: output, data });
    expect(checks.filter((check) => !check.passed)).toEqual([]);
    expect(evaluation).toEqual(favor.evaluation);
    expect(await readFile(join(output, "README.md"), "utf8")).toMatch(
      /differs from the original's by .* of their spread/,
    );
  });

  test("exact attention gives the same scores in the same order", async () => {
    const output = join(await temporaryFolder(), "converted");
    const { favor } = await convert({ source: original, output, features: "exact", evaluate: data, dryRun: false });
    expect(favor.evaluation).toMatchObject({ kind: "output-numbers", rankCorrelation: expect.closeTo(1, 3) as number });
    expect(favor.evaluation?.kind === "output-numbers" && favor.evaluation.error.high).toBeLessThan(1e-3);
  });
});
