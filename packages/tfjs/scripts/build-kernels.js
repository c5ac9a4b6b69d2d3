// Compiles assembly/ (AssemblyScript) to WebAssembly and embeds it as base64 in src/kernels/binaries.ts, so that no
// bundler needs to know of .wasm files: once for tfjs' memory, once for the shared memory of its threaded build. The file
// is committed: in CI (the variable CI is set) nothing is written, and a difference to the byte is an error.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../assembly");
const target = resolve(folder, "../src/kernels/binaries.ts");

/** Base64 of one variant. It imports its memory and puts nothing there. */
async function compile(features) {
  const files = new Map();
  const options = ["--runtime", "stub", "--use", "abort=", "--noAssert", "--importMemory", "--enable", "simd"];
  const { error, stderr } = await main(["causal.ts", "-O3", ...options, ...features, "--outFile", "kernels.wasm"], {
    readFile: (name) => {
      try {
        return readFileSync(resolve(folder, name), "utf8");
      } catch {
        return null; // asc tries several names for an import
      }
    },
    writeFile: (name, contents) => void files.set(name, contents),
    listFiles: () => [],
  });
  if (error) throw new Error(`AssemblyScript could not compile ${folder}:\n${stderr}`, { cause: error });
  return Buffer.from(files.get("kernels.wasm")).toString("base64");
}

// 65,536 pages are all of a 32-bit memory: a shared memory is imported with a limit, which must not be below its own
const shared = await compile([
  "--enable",
  "threads",
  "--sharedMemory",
  "--initialMemory",
  "1",
  "--maximumMemory",
  "65536",
]);
const text = `// Made from assembly/ by scripts/build-kernels.js; do not edit. Base64 of WebAssembly modules.

export const kernelBinary: string =
  "${await compile([])}";

export const sharedMemoryBinary: string =
  "${shared}";
`;
let before = "";
try {
  before = readFileSync(target, "utf8");
} catch (error) {
  if (error.code !== "ENOENT") throw error;
}
if (before !== text && process.env.CI) {
  console.error(
    "src/kernels/binaries.ts is not what its sources give: run `npm run build -w @favor/tfjs` and commit it.",
  );
  process.exitCode = 1;
} else if (before !== text) {
  writeFileSync(target, text);
  console.log("src/kernels/binaries.ts was made anew: commit it.");
}
