import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "calibration/index": "src/calibration/index.ts",
    "comparison/index": "src/comparison/index.ts",
    "theory/index": "src/theory/index.ts",
  },
  format: "esm",
  dts: true,
  platform: "neutral",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
