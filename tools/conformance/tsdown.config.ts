import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    fuzz: "src/fuzz/main.ts",
    "node-tests": "src/node-tests/main.ts",
    soundness: "src/soundness/main.ts",
    transformers: "src/transformers/main.ts",
    tokenizers: "src/tokenizers/main.ts",
  },
  format: "esm",
  dts: false,
  platform: "node",
  outExtensions: () => ({ js: ".js" }),
});
