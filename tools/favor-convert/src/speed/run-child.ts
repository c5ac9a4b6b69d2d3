import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { InputError } from "@favor/checkpoints";
import type { SpeedAnswer, SpeedTask } from "./speed-child.ts";

/** The built child, which is also used when run from the sources (tests). */
const childPath = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "../../dist/speed-child.js" : "./speed-child.js", import.meta.url),
);

/**
 * Times one model at one length in a process of its own, so that nothing else counts as its memory.
 *
 * @throws {InputError} `model-fails-to-run`, also if memory runs out.
 */
export async function runChild(task: SpeedTask): Promise<SpeedAnswer> {
  const child = spawn(process.execPath, [childPath, JSON.stringify(task)], { stdio: ["ignore", "pipe", "pipe"] });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => (output[name] += text));
  }
  const status = await new Promise<number | string | null>((resolve, reject) => {
    child.on("error", reject).on("close", (code, signal) => resolve(code ?? signal));
  });
  if (status === 0) return JSON.parse(output.stdout) as SpeedAnswer;
  const reason = status === "SIGKILL" ? "the system killed it, probably because memory ran out" : output.stderr.trim();
  throw new InputError(`${task.model} cannot be timed at ${task.length} tokens: ${reason.slice(-500)}`, {
    code: "model-fails-to-run",
    details: { model: task.model, length: task.length, status },
  });
}
