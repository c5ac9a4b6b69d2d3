import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { convert } from "favor-convert";
import type { ConvertRequest } from "favor-convert";
import { beforeAll } from "vitest";

import { calibration, tiny } from "@favor/test-support/antibody";
import { writeShallow } from "./shallow.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

/** Options of a conversion that is quickly calibrated. */
export const calibrated = { count: 32, calibrate: calibration, calibrateCount: 20, seeds: 1 } as const;

type Options = Omit<ConvertRequest, "source" | "output">;

/**
 * The embedded checkpoint converted once for a test file; every call of the returned function makes a copy that the
 * test may change.
 */
export function convertedOnce(options: Options = {}): () => Promise<string> {
  return convertedIn(async () => tiny, options).converted;
}

/** The first layer of the embedded checkpoint, and copies of it converted, where depth is not what is tested. */
export function shallowOnce(options: Options = {}): { original: () => string; converted: () => Promise<string> } {
  return convertedIn((folder) => writeShallow(join(folder, "original")), options);
}

/** The first layer of the embedded checkpoint without its head, as a model of sentence embeddings. */
export function embeddingOnce(options: Options = {}): { original: () => string; converted: () => Promise<string> } {
  return convertedIn(
    async (folder) => {
      const path = await writeShallow(join(folder, "original"));
      await mkdir(join(path, "1_Pooling"));
      await writeFile(join(path, "1_Pooling", "config.json"), JSON.stringify({ pooling_mode_mean_tokens: true }));
      return path;
    },
    { ...options, task: "feature-extraction" },
  );
}

function convertedIn(
  sourceIn: (folder: string) => Promise<string>,
  options: Options,
): { original: () => string; converted: () => Promise<string> } {
  let source: string | undefined;
  let made: string | undefined;
  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "favor-tune-test-"));
    made = join(folder, "converted");
    source = await sourceIn(folder);
    await convert({ source, output: made, features: "positive", threads: 1, ...options });
    return async () => {
      await rm(folder, { recursive: true, force: true });
    };
  });
  return {
    original: () => source!,
    async converted() {
      const copy = join(await temporaryFolder(), "converted");
      await cp(made!, copy, { recursive: true });
      return copy;
    },
  };
}
