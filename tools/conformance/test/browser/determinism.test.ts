import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { beforeAll, describe, expect, it } from "vitest";
import { bundle } from "@favor/test-support/bundle";
import { findChromium, runPage } from "@favor/test-support/chromium";
import { kernelDigests, projectionDigests, workerDigest } from "./probe.ts";
import type { Digests } from "./probe.ts";

// Node 20 has relaxed SIMD behind a flag of its engine; later versions have it, and no such flag.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

interface Report {
  readonly error?: string;
  readonly projections: Digests;
  readonly kernels: Digests;
  readonly workers: { readonly sharedMemory: boolean; readonly favor: string };
}

const chromium = findChromium();

describe.skipIf(!chromium)("Chromium gives what Node gives, to the bit (skipped: no chromium on PATH)", () => {
  let script: string;
  beforeAll(async () => {
    script = await bundle(fileURLToPath(new URL("./page.ts", import.meta.url)));
  });

  it.each([true, false])("projections, kernels and workers; shared memory: %s", async (isolated) => {
    const report = (await runPage(chromium!, script, isolated)) as Report;
    expect(report.error).toBeUndefined();
    expect(report.projections).toEqual(projectionDigests());
    // relaxed SIMD is compared where both engines have it
    const here = kernelDigests();
    const names = Object.keys(here).filter((name) => name in report.kernels);
    expect(names.length).toBeGreaterThanOrEqual(4);
    for (const name of names) expect([name, report.kernels[name]]).toEqual([name, here[name]]);
    expect(report.workers.sharedMemory).toBe(isolated);
    expect(report.workers.favor).toBe((await workerDigest()).favor);
  });
});

it("digests tell different numbers apart", () => {
  const digests = Object.entries({ ...projectionDigests(), ...kernelDigests() });
  // of one column, orthogonal rows of any kind are their norms
  const values = digests.filter(([name]) => !name.endsWith(" x 1")).map(([, value]) => value);
  expect(new Set(values).size).toBe(values.length);
});
