import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { calibration } from "@favor/test-support/antibody";
import { shallowOnce } from "./converted.ts";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
/** Debian's chromium brings a software Vulkan driver and its loader. */
const driver = "/usr/lib/chromium/vk_swiftshader_icd.json";
const steps = 10;

/** One layer: most of the time goes into compiling shaders, and the later layers would use the same ones. */
const { converted } = shallowOnce({ count: 8 });

async function losses(
  folder: string,
  backend: string,
  icd: string = driver,
): Promise<{ losses: number[]; stderr: string }> {
  const output = `${folder}-${backend}-${icd === driver}`;
  const small = ["--max-length", "8", "--batch", "4", "--eval-count", "20", "--eval-every", String(steps)];
  const stage = ["--stage", "mlm", "--steps", String(steps), "--learning-rate", "1e-3", "--backend", backend];
  const argv = [folder, "--data", calibration, "-o", output, ...small, ...stage];
  const env = { ...process.env, VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: "/usr/lib/chromium" };
  const child = spawn(process.execPath, [cli, ...argv], { env, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
  const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (status !== 0) throw new Error(`favor-tune --backend ${backend} ended with ${String(status)}: ${stderr}`);
  const log = (await readFile(join(output, "log.jsonl"), "utf8")).trim().split("\n");
  return { losses: log.map((line) => (JSON.parse(line) as { loss: number }).loss), stderr };
}

describe.skipIf(!existsSync(cli) || !existsSync(driver))(
  "webgpu on a software adapter (needs `npm run build` and Debian's chromium)",
  () => {
    test(`${steps} training steps have wasm's losses to 1e-3`, { timeout: 900_000 }, async () => {
      const folder = await converted();
      const [wasm, webgpu] = [await losses(folder, "wasm"), await losses(folder, "webgpu")];
      const auto = await losses(folder, "auto");
      expect(auto.stderr).toMatch(/Training on wasm.*\n.*is a software adapter, which is slower than wasm/);
      expect(auto.losses).toEqual(wasm.losses);
      expect(webgpu.stderr).toMatch(/Training on webgpu \(.*swiftshader/i);
      expect(webgpu.losses.length).toBe(steps);
      // Every batch has masked tokens: a loss of 0 would be equal whatever is computed.
      expect(Math.min(...wasm.losses)).toBeGreaterThan(0);
      for (const [i, loss] of webgpu.losses.entries()) expect(Math.abs(loss - wasm.losses[i]!)).toBeLessThan(1e-3);
    });
  },
);

describe.skipIf(!existsSync(cli))("webgpu without a driver (needs `npm run build`)", () => {
  test("is passed over without Dawn's own complaints", async () => {
    const { stderr } = await losses(await converted(), "auto", "/no/such/driver.json");
    expect(stderr).toMatch(/Training on wasm.*\n.*WebGPU/);
    expect(stderr).not.toMatch(/vkCreateInstance|dawn/i);
  });
});
