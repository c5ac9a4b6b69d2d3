import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
// @ts-expect-error a build script in plain JavaScript, without types
import { kernelBinaries } from "../scripts/build-kernels.js";
// @ts-expect-error a build script in plain JavaScript, without types
import { workerSource } from "../scripts/build-worker.js";

const committed = (path: string) => readFileSync(new URL(`../src/${path}`, import.meta.url), "utf8");

it("the embedded WebAssembly is what assembly/ compiles to, to the byte", async () => {
  expect((await kernelBinaries()) === committed("kernels/binaries.ts"), "build and commit").toBe(true);
});

it("the embedded worker is what src/threads/worker.ts bundles to, to the byte", async () => {
  expect((await workerSource()) === committed("threads/worker-source.ts"), "build and commit").toBe(true);
});
