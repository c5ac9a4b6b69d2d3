import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: ["packages/!(test-support)", "tools/*", "examples/*"],
    reporters: ["default"],
    // Vitest leaves a core to itself, which is half of a machine with two, and hardly uses it.
    maxWorkers: availableParallelism(),
  },
});
