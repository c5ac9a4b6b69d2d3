import { readFileSync } from "node:fs";

import { z } from "zod";

const packageSchema = z.object({ version: z.string(), dependencies: z.record(z.string(), z.string()) });

// The sources and the built files lie one folder below package.json alike.
const own = packageSchema.parse(JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")));

/** The version of favor-tune. */
export const version: string = own.version;

/** Versions of what a tuning depends on; every dependency is pinned exactly, so these are the ones in use. */
export const versions: Readonly<Record<string, string>> = {
  "favor-tune": own.version,
  ...Object.fromEntries(
    ["favor-convert", "@favor/onnx-tfjs", "@tensorflow/tfjs", "onnxruntime-node"].map((name) => [
      name,
      own.dependencies[name] ?? "unknown",
    ]),
  ),
};
