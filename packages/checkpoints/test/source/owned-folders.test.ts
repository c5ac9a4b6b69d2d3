import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { basename, join } from "node:path";

import { expect, test, vi } from "vitest";

import { makeScratchFolder } from "../../src/source/owned-folders.ts";
import { temporaryFolder } from "@favor/test-support/temporary-folder";

/** The number of a process that has ended. */
const ended = (): number => spawnSync(process.execPath, ["-e", ""]).pid;

test("folders of runs that were killed go with the next run's; those of others stay", async () => {
  const parent = await temporaryFolder();
  vi.stubEnv("TMPDIR", parent);
  try {
    const running = makeScratchFolder("model");
    const named = (pid: number): string =>
      join(
        parent,
        basename(running)
          .replace(/^favor-model-\d+/, `favor-model-${pid}`)
          .replace(/.{8}$/, "00000000"),
      );
    const foreign = join(parent, "favor-model-of-somebody");
    for (const path of [named(ended()), foreign]) await mkdir(path);
    const killed = named(ended());
    await mkdir(killed);
    const own = makeScratchFolder("model");
    expect([killed, running, own, foreign].map((path) => existsSync(path))).toEqual([false, true, true, true]);
    for (const path of [running, own]) await rm(path, { recursive: true });
  } finally {
    vi.unstubAllEnvs();
  }
});
