import { defineProject } from "vitest/config";
import type { UserWorkspaceConfig } from "vitest/config";

/** Workspace packages are tested from their sources: no build stands between an edit and a test. */
const conditions = ["@favor/source", "module", "node", "import", "default"];

/** In milliseconds. Ends what hangs, and nothing else: a busy machine may take twenty times as long as an idle one. */
const limit = 240_000;

/** Tests that open sessions of their own send no telemetry of onnxruntime either. */
const env = { ORT_DISABLE_TELEMETRY: "1" };

export function favorProject(name: string): UserWorkspaceConfig {
  return defineProject({
    resolve: { conditions },
    ssr: { resolve: { conditions, externalConditions: ["@favor/source"] } },
    test: { name, include: ["test/**/*.test.ts"], env, testTimeout: limit, hookTimeout: limit },
  });
}
