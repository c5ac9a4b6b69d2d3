import { pinnedVersions } from "@favor/command-line";

// The sources and the built files lie one folder below package.json alike.
const manifest = new URL("../package.json", import.meta.url);

/** Versions of what a tuning depends on. */
export const versions: Readonly<Record<string, string>> = pinnedVersions(manifest, [
  "@favor/core",
  "@favor/rewriter",
  "@favor/onnx-tfjs",
  "@tensorflow/tfjs",
  "onnxruntime-node",
]);

/** The version of favor-tune. */
export const version: string = versions["favor-tune"]!;
