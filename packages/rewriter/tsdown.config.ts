import { defineConfig } from "tsdown";

export default defineConfig({
  entry: { index: "src/index.ts" },
  format: "esm",
  dts: true,
  platform: "neutral",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
