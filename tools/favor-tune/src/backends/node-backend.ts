import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import util from "node:util";
import { pathToFileURL } from "node:url";

import * as tf from "@tensorflow/tfjs";

import type { BackendAttempt } from "./backend.ts";

/** Bindings of libtensorflow, with CUDA first. They are not dependencies, because their installer downloads a library. */
const packages = ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"];

/** Next to favor-tune, and in the current folder. */
const usualPlaces = (): readonly string[] => [import.meta.url, pathToFileURL(join(process.cwd(), "package.json")).href];

/**
 * Opens libtensorflow, if its bindings are installed next to favor-tune or in the current folder. They register their
 * backend with the tfjs that favor-tune uses, so the versions must match.
 *
 * @param places - URLs of files from which to resolve the packages, in order.
 */
export async function openNodeBackend(places: readonly string[] = usualPlaces()): Promise<BackendAttempt> {
  const failures: string[] = [];
  for (const name of packages) {
    const found = await installed(name, places);
    if (found === undefined) continue;
    const { path, version } = found;
    if (version !== tf.version_core) {
      failures.push(
        `${name} ${version} is installed, but favor-tune uses tfjs ${tf.version_core}: npm install ` +
          `${name}@${tf.version_core}.`,
      );
      continue;
    }
    restoreRemovedTypeChecks();
    try {
      await import(pathToFileURL(path).href);
      if (tf.findBackendFactory("tensorflow") !== null && (await tf.setBackend("tensorflow"))) {
        await tf.ready();
        return { name: "tensorflow", description: `libtensorflow (${name})`, fault: () => undefined };
      }
      failures.push(`${name} loads but registers no backend, because it uses another copy of @tensorflow/tfjs.`);
    } catch (error) {
      const reason = error instanceof Error ? error.message.split("\n")[0]! : String(error);
      failures.push(
        `${name} does not load (${reason}). Its native part may be missing for Node ${process.versions.node}: npm rebuild ` +
          `${name} --build-addon-from-source.`,
      );
    }
  }
  if (failures.length > 0) return { missing: failures.join(" ") };
  return {
    missing:
      `Neither ${packages.join(" nor ")} is installed: npm install one of them, version ${tf.version_core}, to train on ` +
      `libtensorflow.`,
  };
}

/** The entry file of a package and its version; undefined if it is not installed. */
async function installed(
  name: string,
  places: readonly string[],
): Promise<{ readonly path: string; readonly version: string } | undefined> {
  for (const place of places) {
    try {
      const { resolve } = createRequire(place);
      const { version } = JSON.parse(await readFile(resolve(`${name}/package.json`), "utf8")) as { version: string };
      return { path: resolve(name), version };
    } catch {
      // Not installed there: try the next place.
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
