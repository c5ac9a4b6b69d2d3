import { defineProject } from "vitest/config";

// see packages/tfjs/vitest.config.ts for why "import" is not among them
const conditions = ["@favor/source", "module", "node", "default"];

export default defineProject({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["@favor/source"] } },
  test: {
    name: "@favor-examples/protein-mlm",
    include: ["test/**/*.test.js"],
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
});
