import { pinnedVersions } from "./command-line/pinned-versions.ts";

// The sources and the built files lie one folder below package.json alike.
const manifest = new URL("../package.json", import.meta.url);

/** Versions of what a conversion depends on. */
export const versions: Readonly<Record<string, string>> = pinnedVersions(manifest, [
  "@favor/core",
  "@favor/onnx",
  "onnxruntime-node",
]);

/** The version of favor-convert. */
export const version: string = versions["favor-convert"]!;
