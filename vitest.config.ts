import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    projects: ["packages/!(test-support)", "tools/*", "examples/*"],
    reporters: ["default"],
  },
});
