import { defineProject } from "vitest/config";

// As packages/tfjs: without the "import" condition, for it would also apply to require(), and the CommonJS build of
// tfjs would get the ES module of `long`, which it cannot use.
const conditions = ["@favor/source", "module", "node", "default"];

export default defineProject({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: ["@favor/source"] } },
  test: { name: "favor-tune", include: ["test/**/*.test.ts"], testTimeout: 240_000, hookTimeout: 240_000 },
});
