import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    cli: "src/cli.ts",
    "command-line": "src/command-line/index.ts",
    data: "src/data/index.ts",
    folder: "src/folder/index.ts",
    measure: "src/measure/index.ts",
    report: "src/report/index.ts",
    "speed-child": "src/measure/speed-child.ts",
    "head-worker": "src/calibrate/head-worker.ts",
  },
  format: "esm",
  dts: true,
  platform: "node",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
