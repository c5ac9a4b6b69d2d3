import { defineProject } from "vitest/config";

// The demo measures in processes of the build: so everything here is as built.
export default defineProject({
  test: { name: "@favor-examples/long-documents", include: ["test/**/*.test.js"], testTimeout: 240_000 },
});
