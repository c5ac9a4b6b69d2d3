// Bundles src/threads/worker.ts with all that it imports into one classic script, and embeds it as a string in
// src/threads/worker-source.ts, so that no bundler needs to know of workers.
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The text of src/threads/worker-source.ts. */
export async function workerSource() {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("../src/threads/worker.ts", import.meta.url)),
    platform: "neutral",
  });
  const { output } = await bundle.generate({ format: "iife", minify: true, comments: false });
  await bundle.close();
  // double quotes escaped so that the formatter leaves the string alone
  const text = JSON.stringify(output[0].code.trim()).replaceAll('\\"', "\\x22");
  return `// Made from worker.ts by scripts/build-worker.js; do not edit.

export const workerSource: string =
  ${text};
`;
}
