import { pinnedVersions } from "@favor/command-line";

// The sources and the built files lie one folder below package.json alike.
const manifest = new URL("../package.json", import.meta.url);

/** Versions of what a conversion depends on. */
export const versions: Readonly<Record<string, string>> = pinnedVersions(manifest, [
  "@favor/core",
  "@favor/onnx",
  "@favor/rewriter",
  "onnxruntime-node",
]);

/** The version of favor-convert. */
export const version: string = versions["favor-convert"]!;
