import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Setting, Timing } from "./timing.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * The interpreter of tools/bench/.venv, which is made, or brought to python/requirements.txt, if need be.
 * @throws Error if there is no python3, or if pip fails; its own output says why
 */
export function pythonEnvironment(): string {
  const python = join(root, ".venv", process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  const requirements = join(root, "python/requirements.txt");
  const wanted = readFileSync(requirements, "utf8");
  const installed = join(root, ".venv/installed.txt");
  if (existsSync(installed) && readFileSync(installed, "utf8") === wanted) return python;
  if (!existsSync(python)) execFileSync("python3", ["-m", "venv", join(root, ".venv")], { stdio: "inherit" });
  execFileSync(python, ["-m", "pip", "install", "--quiet", "-r", requirements], { stdio: "inherit" });
  writeFileSync(installed, wanted);
  return python;
}

/** Times PyTorch's attentions by python/attention.py; `sgemm` is one thread's matrix product in GFLOP/s. */
export function timePython(
  python: string,
  setting: Setting,
): { readonly sgemm: number; readonly torch: string; readonly timings: Timing[] } {
  const output = execFileSync(python, [join(root, "python/attention.py"), JSON.stringify(setting)], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, OMP_NUM_THREADS: "1", MKL_NUM_THREADS: "1" },
  });
  const [first, ...timings] = output
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);
  return { ...(first as { sgemm: number; torch: string }), timings: timings as Timing[] };
}
