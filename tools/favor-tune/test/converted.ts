import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { convert } from "favor-convert";
import type { ConvertRequest } from "favor-convert";
import { beforeAll } from "vitest";

import { calibration, tiny } from "../../favor-convert/test/checkpoints.ts";
import { temporaryFolder } from "../../favor-convert/test/temporary-folder.ts";

/** Options of a conversion that is quickly calibrated. */
export const calibrated = { count: 32, calibrate: calibration, calibrateCount: 20, seeds: 1 } as const;

/**
 * The embedded checkpoint converted once for a test file; every call of the returned function makes a copy that the
 * test may change.
 */
export function convertedOnce(options: Omit<ConvertRequest, "source" | "output"> = {}): () => Promise<string> {
  let made: string | undefined;
  beforeAll(async () => {
    made = join(await mkdtemp(join(tmpdir(), "favor-tune-test-")), "converted");
    await convert({
      source: tiny,
      output: made,
      features: "positive",
      threads: 1,
      ...options,
    });
    return async () => {
      await rm(join(made!, ".."), { recursive: true, force: true });
    };
  });
  return async () => {
    const copy = join(await temporaryFolder(), "converted");
    await cp(made!, copy, { recursive: true });
    return copy;
  };
}
