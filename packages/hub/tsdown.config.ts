import { defineConfig } from "tsdown";

export default defineConfig({
  entry: {
    index: "src/index.ts",
    "node/index": "src/node/index.ts",
    owner: "src/node/owner.ts",
    "bytes-text": "src/bytes-text.ts",
  },
  format: "esm",
  dts: true,
  platform: "neutral",
  deps: { neverBundle: [/^node:/] },
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
