import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { InputError } from "@favor/checkpoints";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { afterEach, expect, test, vi } from "vitest";

import type { MeasuredSpeed } from "../src/index.ts";
import type { SpeedAnswer, SpeedTask } from "../src/speed/speed-child.ts";
import { favorConvert } from "./favor-convert.ts";

const checkpoint = fileURLToPath(new URL("cases/one-score-output", import.meta.url));
const data = join(checkpoint, "data.txt");

/** In the place of processes, which have tests of their own: never as long twice. */
const runs: string[] = [];
let breaks = false;
vi.mock("../src/speed/run-child.ts", () => ({
  runChild: async ({ model, length }: SpeedTask): Promise<SpeedAnswer> => {
    if (breaks) throw new InputError("It broke.", { code: "model-fails-to-run" });
    const isOriginal = /original/.test(model);
    runs.push(`${isOriginal ? "original" : "converted"} at ${length}`);
    const seconds = (isOriginal ? 0.002 : 0.001) * length + 1e-6 * runs.length;
    return { seconds, processorSeconds: seconds, peakBytes: (isOriginal ? 3e6 : 2e6) * length };
  },
}));
afterEach(() => {
  breaks = false;
});

async function evaluated(output: string, ...argv: string[]): Promise<MeasuredSpeed | null> {
  const options = ["--count", "8", "--evaluate", data, "--evaluate-count", "8", "--json"];
  const { status, stdout } = await favorConvert(checkpoint, "-o", output, ...options, ...argv);
  expect(status).toBe(0);
  return (JSON.parse(stdout) as { speed: MeasuredSpeed | null }).speed;
}

async function contents(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const files = names.map(async ({ parentPath, name }) => [name, await readFile(join(parentPath, name), "base64")]);
  return Object.fromEntries(await Promise.all(files)) as Record<string, string>;
}

test("--evaluate measures speed and memory at two lengths, in turns, into a file of their own", async () => {
  const folder = await temporaryFolder();
  const output = join(folder, "out");
  const speed = await evaluated(output);
  // The model takes 64 tokens.
  expect(speed!.lengths.map(({ length }) => length)).toEqual([16, 64]);
  expect(runs.slice(0, 4)).toEqual(["original at 16", "converted at 16", "original at 16", "converted at 16"]);
  expect(speed!.lengths[1]!.original.peakBytes).toBe(192e6);
  expect(JSON.parse(await readFile(join(output, "favor-speed.json"), "utf8"))).toEqual(speed);
  const first = await contents(output);
  expect(Buffer.from(first["favor.json"]!, "base64").toString()).not.toContain("favor-speed.json");

  // The same command again: other times, the same files besides.
  const again = await evaluated(output, "--force");
  expect(again).not.toEqual(speed);
  const second = await contents(output);
  for (const name of ["favor-speed.json", "report.html"]) expect(second[name]).not.toBe(first[name]);
  const own = new Set(["favor-speed.json", "report.html"]);
  const rest = Object.keys(first).filter((name) => !own.has(name));
  expect(Object.keys(second)).toEqual(Object.keys(first));
  for (const name of rest) expect(second[name]).toBe(first[name]);

  // Without speed, the old file goes.
  await writeFile(join(output, "mine.txt"), "mine");
  expect(await evaluated(output, "--force", "--speed", "none")).toBeNull();
  const third = await contents(output);
  expect(third).not.toHaveProperty("favor-speed.json");
  expect(third["favor.json"]).toBe(first["favor.json"]);
  expect(third["mine.txt"]).toBeDefined();
});

test("the terminal shows memory beside the time", async () => {
  const options = ["--count", "8", "--speed", "16,64", "--quiet"];
  const { stdout } = await favorConvert(checkpoint, "-o", join(await temporaryFolder(), "out"), ...options);
  expect(stdout).toMatch(/│ tokens │ original, ms │ converted, ms │ times as fast │ original, MB │ converted, MB │/);
  expect(stdout).toMatch(/│ 64 +│ 1\d\d(\.\d+)? +│ 6\d(\.\d+)? +│ [12](\.\d+)? +│ 192 +│ 128 +│/);
});

test("a model that cannot be timed is converted all the same, unless speed was asked for", async () => {
  breaks = true;
  const folder = await temporaryFolder();
  expect(await evaluated(join(folder, "usual"))).toBeNull();
  const asked = await favorConvert(checkpoint, "-o", join(folder, "asked"), "--count", "8", "--speed", "16", "--quiet");
  expect(asked.status).toBe(3);
});
