import * as tf from "@tensorflow/tfjs";
import { repairBackend } from "@favor/tfjs";

import { TuneUsageError } from "../errors.ts";
import type { BackendChoice } from "../request.ts";
import type { BackendAttempt, OpenedBackend } from "./backend.ts";
import { openNodeBackend } from "./node-backend.ts";
import { openWebGpu } from "./webgpu-backend.ts";

const quiet = (): undefined => undefined;

/**
 * Starts a backend and repairs what tfjs lacks on it. `auto` takes the first that is available: webgpu on a hardware
 * adapter, libtensorflow if `@tensorflow/tfjs-node-gpu` or `@tensorflow/tfjs-node` is installed, or wasm. Only `webgpu`
 * accepts software adapters, which are slower than wasm.
 *
 * @throws {TuneUsageError} `backend-unavailable`, saying what is missing.
 */
export async function openBackend(choice: BackendChoice): Promise<OpenedBackend> {
  tf.enableProdMode();
  const reasons: string[] = [];
  const order: readonly Exclude<BackendChoice, "auto">[] = choice === "auto" ? ["webgpu", "node", "wasm"] : [choice];
  for (const name of order) {
    const attempt = await openers[name](choice === "auto");
    if ("missing" in attempt) {
      reasons.push(attempt.missing);
      continue;
    }
    repairBackend(attempt.name);
    const how = choice === "auto" ? "the first of webgpu, node and wasm that is available" : "as requested";
    return { ...attempt, reasons: [`Training on ${attempt.description}, ${how}.`, ...reasons] };
  }
  throw new TuneUsageError(`--backend ${choice}: ${reasons.join(" ")} Choose another backend with --backend.`, {
    code: "backend-unavailable",
    details: { backend: choice, reasons },
  });
}

const openers: Readonly<Record<Exclude<BackendChoice, "auto">, (onlyReal: boolean) => Promise<BackendAttempt>>> = {
  webgpu: openWebGpu,
  node: () => openNodeBackend(),
  async wasm() {
    await import("@tensorflow/tfjs-backend-wasm");
    return started("wasm", "wasm (this processor, one thread)");
  },
  async cpu() {
    return started("cpu", "cpu (plain JavaScript, for tests: tens of times slower than wasm)");
  },
};

async function started(name: string, description: string): Promise<BackendAttempt> {
  if (!(await tf.setBackend(name))) return { missing: `The ${name} backend does not start.` };
  await tf.ready();
  return { name, description, fault: quiet };
}
