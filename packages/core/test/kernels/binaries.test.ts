import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
// @ts-expect-error a build script in plain JavaScript, without types
import { kernelBinaries } from "../../scripts/build-kernels.js";

it("the embedded WebAssembly is what assembly/ compiles to, to the byte", async () => {
  const committed = readFileSync(new URL("../../src/kernels/binaries.ts", import.meta.url), "utf8");
  expect(await kernelBinaries()).toBe(committed);
});
