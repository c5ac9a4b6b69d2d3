// Makes the sources that are embedded as text, the WebAssembly kernels and the worker's script. They are committed: in
// CI (the variable CI is set) nothing is written, and a difference to the byte is an error.
import { readFileSync, writeFileSync } from "node:fs";
import { kernelBinaries } from "./build-kernels.js";
import { workerSource } from "./build-worker.js";

/** Writes a file whose text has changed; returns whether it has. */
function embed(path, text) {
  const file = new URL(`../src/${path}`, import.meta.url);
  if (readFileSync(file, "utf8") === text) return false;
  if (!process.env.CI) writeFileSync(file, text);
  return true;
}

// the worker's script holds the kernels: these first
const embedded = [
  ["kernels/binaries.ts", kernelBinaries],
  ["threads/worker-source.ts", workerSource],
];
for (const [path, make] of embedded) {
  if (!embed(path, await make())) continue;
  if (process.env.CI) {
    console.error(`src/${path} is not what its sources give: run \`npm run build -w @favor/core\` and commit it.`);
    process.exitCode = 1;
  } else {
    console.log(`src/${path} was made anew: commit it.`);
  }
}
