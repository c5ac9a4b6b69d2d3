import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "judgement/index": "src/judgement/index.ts",
    "numbers/index": "src/numbers/index.ts",
    "data/index": "src/data/index.ts",
    "tokens/index": "src/tokens/index.ts",
    "runs/onnxruntime": "src/runs/onnxruntime.ts",
  },
  format: "esm",
  dts: true,
  platform: "node",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
