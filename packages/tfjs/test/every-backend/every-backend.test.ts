import { spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { backends } from "@favor/test-support/backends";
import { bundle } from "@favor/test-support/bundle";
import { pageFiles } from "./page-files.ts";
import { checks } from "./checks.ts";
import { findChromium, openPage } from "@favor/test-support/chromium";
import { faults } from "./faults.ts";
import { halfPrecisionChecks } from "./half-precision.ts";
import { runEverything } from "./report.ts";
import { errorTable } from "./error-table.ts";
import type { Report } from "./report.ts";

const slow = 600_000;
const chromium = findChromium();
/** A software Vulkan driver: VK_ICD_FILENAMES, or SwiftShader, which Debian's chromium brings with its loader. */
const driver = [process.env.VK_ICD_FILENAMES ?? "", "/usr/lib/chromium/vk_swiftshader_icd.json"].find(
  (path) => path !== "" && existsSync(path),
);

/** Every report of a backend, by the place that it comes from. */
const columns: Record<string, Report> = {};

afterAll(() => {
  // `npm run backends -w @favor/tfjs`
  if (process.env.FAVOR_WRITE_BACKENDS) writeFileSync(new URL(errorPage, import.meta.url), errorTable(columns));
});

const errorPage = "../../../../docs/measurements/backends.md";

/** The tests of one backend in one place, from its report. */
function expectEverything(backend: string, report: () => Report): void {
  it.each(checks.map(({ name }) => name))("%s", (name) => {
    expect(report().results[name]).toBe("passed");
  });

  it("had the faults of tfjs 4.22 (if not, tfjs has mended them: drop the repair), and has none repaired", () => {
    const own = faults.filter((fault) => fault.backends.includes(backend)).map(({ name }) => name);
    expect(report().faultsBefore).toEqual(own);
    expect(report().faultsAfter).toEqual([]);
  });

  it("reports no error of the device", () => {
    expect(report().deviceErrors).toEqual([]);
  });
}

describe.each(backends)("%s in Node", (backend) => {
  let report: Report;
  beforeAll(async () => {
    report = await runEverything(backend);
    columns[`${backend}, Node`] = report;
  }, slow);
  expectEverything(backend, () => report);
});

describe.skipIf(!driver)("webgpu in Node on a software adapter (skipped: no Vulkan driver, install chromium)", () => {
  let report: Report;
  beforeAll(async () => {
    const code = await bundle(fileURLToPath(new URL("node-webgpu.ts", import.meta.url)), [
      /^@tensorflow\//,
      /^webgpu$/,
    ]);
    const libraries = [dirname(driver!), process.env.LD_LIBRARY_PATH].filter(Boolean).join(":");
    const env = { ...process.env, VK_ICD_FILENAMES: driver!, LD_LIBRARY_PATH: libraries };
    const cwd = fileURLToPath(new URL("../..", import.meta.url));
    const node = spawnSync(process.execPath, ["--input-type=module"], { input: code, env, cwd, encoding: "utf8" });
    const line = node.stdout.split("\n").find((text) => text.startsWith("{"));
    if (!line) throw new Error(`webgpu in Node ended with ${node.status}:\n${node.stdout}\n${node.stderr}`);
    report = JSON.parse(line) as Report;
    columns["webgpu, Node"] = report;
  }, slow);
  expectEverything("webgpu", () => report);
});

describe.skipIf(!chromium)("a page without a bundler in Chromium (skipped: no chromium)", () => {
  let reports: (Report & { error?: string })[] = [];
  beforeAll(async () => {
    const page = { files: await pageFiles(), path: "/?wasm,webgl,webgpu", isolated: false };
    reports = (await openPage(chromium!, page)) as Report[];
    for (const report of reports) columns[`${report.backend}, Chromium`] = report;
  }, slow);

  describe.each(["wasm", "webgl", "webgpu"])("%s", (backend) => {
    it("starts", () => {
      const report = reports.find((each) => each.backend === backend);
      expect(report?.error).toBe(undefined);
    });
    expectEverything(backend, () => reports.find((each) => each.backend === backend)!);
  });
});

describe.skipIf(!chromium)("wasm with threads, in an isolated page (skipped: no chromium)", () => {
  let report: Report;
  beforeAll(async () => {
    const page = { files: await pageFiles(), path: "/?wasm", isolated: true };
    [report] = (await openPage(chromium!, page)) as [Report];
  }, slow);
  expectEverything("wasm", () => report);

  it("has the shared memory of threads", () => {
    expect(report.memory).toBe("SharedArrayBuffer");
  });
});

describe.skipIf(!chromium)("webgl with half-precision textures, in a page (skipped: no chromium)", () => {
  let report: Report;
  beforeAll(async () => {
    const page = { files: await pageFiles(), path: "/?half-precision", isolated: false };
    [report] = (await openPage(chromium!, page)) as [Report];
    columns["webgl, half precision"] = report;
  }, slow);

  it.each(halfPrecisionChecks.map(({ name }) => name))("%s", (name) => {
    expect(report.results[name]).toBe("passed");
  });
});
