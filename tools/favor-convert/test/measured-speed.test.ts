import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { calibration, tiny, validation } from "@favor/test-support/antibody";
import { temporaryFolder } from "@favor/test-support/temporary-folder";
import { convert } from "../src/index.ts";
import type { DryRunResult, FavorFile, MeasuredSpeed } from "../src/index.ts";
import { favorConvert } from "./favor-convert.ts";

const child = fileURLToPath(new URL("../dist/speed-child.js", import.meta.url));

interface Printed {
  readonly folder: string | null;
  readonly quality: FavorFile["evaluation"] | null;
  readonly speed: MeasuredSpeed | null;
  readonly favor: FavorFile;
  readonly plan: DryRunResult["plan"];
}

async function printed(...argv: string[]): Promise<Printed> {
  const { status, stdout } = await favorConvert(...argv, "--json", "--quiet");
  expect(status).toBe(0);
  return JSON.parse(stdout) as Printed;
}

describe.skipIf(!existsSync(child))("--speed (needs `npm run build`)", () => {
  test("measures both models; the report tells machine and date, and favor.json stays the same", async () => {
    const folder = await temporaryFolder();
    const [plain, timed] = [join(folder, "plain"), join(folder, "timed")];
    const request = { source: tiny, count: 16, threads: 1 };
    await convert({ ...request, output: plain });
    const { speed } = await convert({ ...request, output: timed, speed: [16, 64] });
    expect(speed?.lengths.map(({ length }) => length)).toEqual([16, 64]);
    for (const { original, converted } of speed!.lengths) {
      expect(original.seconds).toBeGreaterThan(0);
      expect(converted.peakBytes).toBeGreaterThan(1e6);
    }
    const report = await readFile(join(timed, "report.html"), "utf8");
    expect(report).toContain(`Measured on ${speed!.date}: `);
    expect(report).toContain(speed!.machine);
    expect(await readFile(join(plain, "report.html"), "utf8")).not.toContain("Measured on");
    for (const name of ["favor.json", "README.md", "onnx/model.onnx"]) {
      expect(await readFile(join(timed, name), "base64")).toBe(await readFile(join(plain, name), "base64"));
    }
    // What was measured may differ next time; what somebody writes into the rest of the page is theirs.
    await convert({ ...request, output: timed, force: true });
    await writeFile(join(timed, "report.html"), report.replace("</h1>", " (mine)</h1>"));
    await expect(convert({ ...request, output: timed, force: true })).rejects.toMatchObject({
      code: "output-holds-foreign",
    });
  });

  test("--json: quality and speed first, the sites once", async () => {
    const output = join(await temporaryFolder(), "out");
    const options = ["--count", "16", "--evaluate", validation, "--evaluate-count", "5", "--speed", "16"];
    const result = await printed(tiny, "-o", output, ...options);
    expect(Object.keys(result).slice(0, 4)).toEqual(["folder", "verdict", "quality", "speed"]);
    expect(result.quality).toEqual(result.favor.evaluation);
    expect(result.speed?.lengths).toHaveLength(1);
    expect(Object.keys(result)).not.toContain("sites");
    expect(result.favor.sites).toHaveLength(4);
  });
});

test("what was not measured is null", async () => {
  const output = join(await temporaryFolder(), "out");
  expect(await printed(tiny, "-o", output, "--count", "16")).toMatchObject({ quality: null, speed: null });
});

test("--dry-run says features, size, cost by length and time", async () => {
  const asked = [tiny, "--dry-run", "--count", "64"];
  const { plan, folder, favor } = await printed(...asked);
  expect([folder, favor]).toEqual([null, undefined]);
  const output = join(await temporaryFolder(), "out");
  const { favor: real } = await convert({ source: tiny, count: 64, output });
  expect(plan.weights).toEqual(real.card?.weights);
  const at = (wanted: number): { softmax: number; converted: number } =>
    plan.cost.find(({ length }) => length === wanted)!;
  // 2 L^2 d of softmax against 4 L M d: the same at L = 2 M.
  expect(at(128).converted).toBe(at(128).softmax);
  expect(at(2048).softmax / at(2048).converted).toBe(16);
  expect(plan.seconds).toBeGreaterThan(0);
  const { stdout } = await favorConvert(...asked, "--calibrate", calibration, "--quiet");
  expect(stdout).toMatch(/^Features: 64 landmark features per head, fitted to 200 sequences\.$/m);
  expect(stdout).toMatch(/^Weights: 3\.\d MB before, \d\.\d MB after\.$/m);
  expect(stdout).toMatch(/^│ 2,048 +│ 4\.295 +│ 0\.2684 +│ 16 +│$/m);
  expect(stdout).toMatch(/^It will take about \d+ (s|min \d+ s) on this machine/m);
});

test.each(["0", "x", "12,", "99999"])("--speed %s is refused", async (value) => {
  const { status, stderr } = await favorConvert(tiny, "-o", "/nowhere", "--speed", value);
  expect(status).toBe(2);
  expect(stderr).toContain("--speed takes lengths in tokens such as 128,512,2048");
});
