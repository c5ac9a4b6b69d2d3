import { installedVersions } from "@favor/command-line";

// Both the sources and the built files are one folder below package.json.
const manifest = new URL("../package.json", import.meta.url);

/** Versions of everything that tuning depends on. */
export const versions: Readonly<Record<string, string>> = installedVersions(manifest, [
  "@favor/core",
  "@favor/rewriter",
  "@favor/onnx-tfjs",
  "@tensorflow/tfjs",
  "onnxruntime-node",
]);

/** The version of favor-tune. */
export const version: string = versions["favor-tune"]!;
