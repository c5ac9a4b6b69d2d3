import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { tune } from "../src/index.ts";
import { TrainingFolder } from "../src/checkpoint/training-folder.ts";
import { calibration, validation } from "@favor/test-support/antibody";
import { temporaryFile, temporaryFolder } from "@favor/test-support/temporary-folder";
import { shallowOnce } from "./converted.ts";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

const { converted } = shallowOnce({ count: 8 });

/** Runs favor-tune and sends it a signal when its stderr contains a text. */
async function stopAt(
  text: string,
  sent: NodeJS.Signals,
  source: string,
  output: string,
  ...more: readonly string[]
): Promise<{ readonly status: number | null; readonly signal: NodeJS.Signals | null; readonly stderr: string }> {
  const small = ["--max-length", "16", "--batch", "2", "--backend", "wasm", "--stage", "mlm", "--steps", "100000"];
  const argv = [cli, source, "--data", calibration, "-o", output, ...small, ...more];
  const child = spawn(process.execPath, argv, { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    const isNew = !stderr.includes(text);
    stderr += chunk.toString("utf8");
    if (isNew && stderr.includes(text)) child.kill(sent);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (status, signal) => resolve({ status, signal, stderr }));
  });
}

describe.skipIf(!existsSync(cli))("a signal to the built command line (needs `npm run build`)", () => {
  test.each([
    ["SIGHUP", 129],
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("%s while it trains: a checkpoint, how to resume, exit code %i", async (signal, status) => {
    const source = await converted();
    const output = `${source}-tuned`;
    const ended = await stopAt("mlm 1", signal, source, output, "--eval-count", "4");
    expect(ended).toMatchObject({ status, signal: null });
    expect(ended.stderr).toMatch(new RegExp(`favor-tune: Stopped by ${signal} after step .*--resume`));
    expect(await readdir(`${output}.training`)).toContain("checkpoint.safetensors");
    expect(existsSync(output)).toBe(false);
  });

  test.each(["SIGHUP", "SIGINT", "SIGTERM"] as const)("%s before it trains leaves nothing behind", async (signal) => {
    const source = await converted();
    const output = join(dirname(source), "made", "tuned");
    // Takes half a minute to measure on: the signal comes before its end.
    const long = await temporaryFile("long.fasta", (await readFile(validation, "utf8")).repeat(50));
    const measuring = ["--eval-data", long, "--eval-count", "1000000", "--threads", "1"];
    const ended = await stopAt("Measuring on", signal, source, output, ...measuring);
    expect(ended).toMatchObject({ status: null, signal });
    expect(await readdir(dirname(source))).toEqual(["converted"]);
  });
});

describe("the folder of the checkpoints", () => {
  test("keeps what others put there", async () => {
    const source = await converted();
    const training = `${source}-tuned.training`;
    await mkdir(training);
    await writeFile(join(training, "notes.txt"), "theirs");
    const small = { stage: "mlm", maxLength: 16, batch: 2, evalCount: 4, steps: 1, backend: "wasm" } as const;
    await tune({ source, data: calibration, ...small });
    expect(await readdir(training)).toEqual(["notes.txt"]);
    expect(await readdir(`${source}-tuned`)).toContain("log.jsonl");
  });

  test("removes every file of a run, and the parents that were made for it", async () => {
    const parent = await temporaryFolder();
    const folder = new TrainingFolder(join(parent, "made", "out.training"), { source: "", data: "", force: true });
    const names = ["checkpoint.safetensors", "checkpoint.next.safetensors.tmp", "log.jsonl", "measured.onnx", "x"];
    for (const name of [...names, ".evaluated.onnx.1-abcd.tmp"]) await writeFile(join(folder.path, name), "");
    await mkdir(join(folder.path, "distill-a1B2c3"));
    folder.remove();
    expect(await readdir(folder.path)).toEqual(["x"]);
  });
});
