import { defineConfig } from "tsdown";

export default defineConfig({
  entry: [
    "src/alibi.ts",
    "src/attention.ts",
    "src/hybrid.ts",
    "src/lossless.ts",
    "src/lossless-browser.ts",
    "src/lossless-report.ts",
    "src/quality-at-length.ts",
    "src/selectors.ts",
    "src/size.ts",
    "src/tfjs.ts",
    "src/train-step.ts",
  ],
  format: "esm",
  dts: false,
  platform: "node",
  outExtensions: () => ({ js: ".js" }),
});
