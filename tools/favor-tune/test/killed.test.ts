import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { describe, expect, test } from "vitest";

import { calibration } from "@favor/test-support/antibody";
import { shallowOnce } from "./converted.ts";

const cli = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
/** How often the process is killed; 20 takes minutes. */
const kills = Number(process.env["FAVOR_KILLS"] ?? 3);

const { converted } = shallowOnce({ count: 16 });

/** Runs favor-tune to its end, or kills it `after` milliseconds. @returns whether it came to its end. */
async function run(argv: readonly string[], after: number | undefined): Promise<boolean> {
  const child = spawn(process.execPath, [cli, ...argv], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString("utf8")));
  const timer = after === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), after);
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on("error", reject).on("close", (...ended) => resolve(ended));
  });
  clearTimeout(timer);
  if (status !== 0 && signal !== "SIGKILL") throw new Error(`favor-tune ended with ${status ?? signal}: ${stderr}`);
  return status === 0;
}

describe.skipIf(!existsSync(cli))("the built command line (needs `npm run build`)", () => {
  test(`killed ${kills} times at random moments and resumed, it loses nothing`, { timeout: 600_000 }, async () => {
    const folder = await converted();
    const small = ["--max-length", "16", "--batch", "2", "--eval-count", "4", "--eval-every", "1", "--backend", "wasm"];
    const argv = [folder, "--data", calibration, "--stage", "mlm", "--steps", String(6 + kills), ...small];
    let began = performance.now();
    expect(await run([...argv, "-o", `${folder}-whole`], undefined)).toBe(true);
    let whole = performance.now() - began;
    const bytes = async (name: string): Promise<Buffer> => readFile(join(`${folder}-${name}`, "onnx", "model.onnx"));
    const output = `${folder}-killed`;
    for (let killed = 0; killed < kills;) {
      began = performance.now();
      const isDone = await run([...argv, "-o", output, "--resume"], whole * (0.3 + 0.6 * Math.random()));
      if (!isDone) killed++;
      // The machine was busier while it was measured: it would never be killed.
      else whole = performance.now() - began;
      if (!existsSync(output)) continue;
      // It came to its end before all kills were used: once more from the start.
      expect((await bytes("killed")).equals(await bytes("whole"))).toBe(true);
      await rm(output, { recursive: true });
    }
    await run([...argv, "-o", output, "--resume"], undefined);
    expect((await bytes("killed")).equals(await bytes("whole"))).toBe(true);
    expect(existsSync(`${folder}-killed.training`)).toBe(false);
  });
});
