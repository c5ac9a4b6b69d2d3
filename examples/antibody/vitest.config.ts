import { defineProject } from "vitest/config";

// The demo starts command lines, which are built: so everything here is as built.
export default defineProject({
  test: { name: "@favor-examples/antibody", include: ["test/**/*.test.js"], testTimeout: 240_000 },
});
