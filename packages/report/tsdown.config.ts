import { defineConfig } from "tsdown";

export default defineConfig({
  entry: { index: "src/index.ts", "pages/index": "src/pages/index.ts" },
  format: "esm",
  dts: true,
  platform: "node",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
