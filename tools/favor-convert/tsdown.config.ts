import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    cli: "src/cli.ts",
    "speed-child": "src/speed/speed-child.ts",
    "head-worker": "src/calibrate/head-worker.ts",
  },
  format: "esm",
  dts: true,
  platform: "node",
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
