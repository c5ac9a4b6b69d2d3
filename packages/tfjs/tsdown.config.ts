import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    operations: "src/operations.ts",
    register: "src/register.ts",
  },
  format: "esm",
  dts: true,
  platform: "neutral",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
