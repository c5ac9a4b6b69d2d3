import { createRequire } from "node:module";
import { join } from "node:path";
import util from "node:util";
import { pathToFileURL } from "node:url";

import * as tf from "@tensorflow/tfjs";

import type { BackendAttempt } from "./open-backend.ts";

/** libtensorflow's bindings, CUDA's first; never a dependency: their installer downloads a library from elsewhere. */
const packages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

/**
 * libtensorflow, where the user installed its bindings beside favor-tune or in the folder at hand. They register their
 * backend with the tfjs that they find: it must be the one that favor-tune trains with.
 */
export async function openNodeBackend(): Promise<BackendAttempt> {
  const failures: string[] = [];
  for (const name of packages) {
    const path = resolved(name);
    if (path === undefined) continue;
    restoreRemovedTypeChecks();
    try {
      await import(pathToFileURL(path).href);
      if (tf.findBackendFactory("tensorflow") !== null && (await tf.setBackend("tensorflow"))) {
        await tf.ready();
        return { name: "tensorflow", description: `libtensorflow (${name})`, fault: () => undefined };
      }
      failures.push(
        `${name} registers its backend with another copy of @tensorflow/tfjs: install it with version 4.22.0.`,
      );
    } catch (error) {
      failures.push(
        `${name} does not load (${error instanceof Error ? error.message.split("\n")[0]! : String(error)}).`,
      );
    }
  }
  if (failures.length > 0) return { missing: failures.join(" ") };
  return {
    missing: `Neither ${packages.join(" nor ")} is installed: npm install one of them to train on libtensorflow.`,
  };
}

function resolved(name: string): string | undefined {
  for (const from of [import.meta.url, pathToFileURL(join(process.cwd(), "package.json"))]) {
    try {
      return createRequire(from).resolve(name);
    } catch {
      // Not there: the next place.
    }
  }
  return undefined;
}

/** tfjs-node calls two functions that Node 23 removed from `util`. */
function restoreRemovedTypeChecks(): void {
  const checks: Record<string, (value: unknown) => boolean> = {
    isNullOrUndefined: (value) => value === null || value === undefined,
    isArray: (value) => Array.isArray(value),
  };
  for (const [name, check] of Object.entries(checks)) {
    if (!(name in util)) Object.defineProperty(util, name, { value: check, configurable: true });
  }
}
