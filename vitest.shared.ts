import { defineProject } from "vitest/config";
import type { UserWorkspaceConfig } from "vitest/config";

/** Workspace packages are tested from their sources: no build stands between an edit and a test. */
const conditions = ["@favor/source", "module", "node", "import", "default"];

export function favorProject(name: string, options: { timeout?: number } = {}): UserWorkspaceConfig {
  return defineProject({
    resolve: { conditions },
    ssr: { resolve: { conditions, externalConditions: ["@favor/source"] } },
    test: {
      name,
      include: ["test/**/*.test.ts"],
      testTimeout: options.timeout ?? 20_000,
      hookTimeout: options.timeout ?? 60_000,
    },
  });
}
