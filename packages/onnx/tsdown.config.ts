import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "graph/index": "src/graph/index.ts",
    "semantics/index": "src/semantics/index.ts",
    "evaluate/index": "src/evaluate/index.ts",
    "node/index": "src/node/index.ts",
  },
  format: "esm",
  dts: true,
  platform: "neutral",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
