import { execFile } from "node:child_process";
import { copyFile, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { expect, test } from "vitest";

import { tiny } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { convert } from "../src/index.ts";
import type { ConvertRequest } from "../src/index.ts";

const run = promisify(execFile);
const modules = fileURLToPath(new URL("../../../node_modules", import.meta.url));

async function converted(options: Partial<ConvertRequest> = {}): Promise<{ folder: string; card: string }> {
  const output = join(await temporaryFolder(), "out");
  const { folder } = await convert({ source: tiny, count: 16, ...options, output, dryRun: false });
  return { folder, card: await readFile(join(folder, "README.md"), "utf8") };
}

/** Runs the first example in JavaScript of a folder's card, as a reader would paste it. */
async function runExample(folder: string, card: string): Promise<{ stdout: string; stderr: string }> {
  const [, code = ""] = /```js\n(.*?)```/s.exec(card) ?? [];
  await symlink(modules, join(folder, "node_modules"));
  await writeFile(join(folder, "example.mjs"), `${code}\nconsole.log(process.env.ORT_DISABLE_TELEMETRY);\n`);
  const { ORT_DISABLE_TELEMETRY: _, ...env } = process.env;
  return run(process.execPath, ["example.mjs"], { cwd: folder, env });
}

test("the example for Node runs as it stands, without telemetry: text in, the likeliest residue out", async () => {
  const { folder, card } = await converted({ features: "exact" });
  const { stdout, stderr } = await runExample(folder, card);
  expect(stderr).toBe("");
  const [line, telemetry] = stdout.trim().split("\n");
  expect(line).toMatch(/^[A-Z] at 17 of 29$/);
  expect(telemetry).toBe("1");
});

test("without tokenizer.json, the example runs on ids", async () => {
  const source = await temporaryFolder();
  await mkdir(join(source, "onnx"));
  for (const name of ["config.json", "vocab.txt", "onnx/model.onnx"])
    await copyFile(join(tiny, name), join(source, name));
  const { folder, card } = await converted({ source });
  expect((await runExample(folder, card)).stdout).toContain("logits [ 1, 4, 25 ]");
});

/** The metadata at the top of a card. */
function metadata(card: string): Record<string, string> {
  const [, front = ""] = /^---\n(.*?)\n---\n/s.exec(card) ?? [];
  return Object.fromEntries(front.split("\n").map((line) => line.split(/: (.*)/s, 2) as [string, string]));
}

test("metadata: what the files say, and nothing else", async () => {
  const { card } = await converted();
  expect(metadata(card)).toEqual({
    license: "apache-2.0",
    library_name: "transformers.js",
    pipeline_tag: "fill-mask",
    tags: "[favor, linear-attention, performer, onnx]",
  });
  expect(card).toMatch(/^Weights: 3\.\d MB before, 3\.\d MB after\.$/m);
});

test("a checkpoint in the Hub's cache has its repository's name, and the licence of its card", async () => {
  const source = join(await temporaryFolder(), "models--lab--antibody", "snapshots", "0".repeat(40));
  await mkdir(join(source, "onnx"), { recursive: true });
  for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "onnx/model.onnx"])
    await copyFile(join(tiny, name), join(source, name));
  await writeFile(join(source, "README.md"), "---\nlicense: cc-by-4.0\ntags: [x]\n---\n# Antibody\n");
  const { card } = await converted({ source });
  expect(metadata(card)).toMatchObject({ base_model: "lab/antibody", license: "cc-by-4.0" });
  expect(card).toContain("# lab/antibody with linear attention");
});
