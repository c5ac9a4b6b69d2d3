// Compiles assembly/ (AssemblyScript) to WebAssembly, with and without relaxed SIMD, and embeds both as base64 in
// src/kernels/binaries.ts, so that no bundler needs to know of .wasm files. Run by build-embedded.js.
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { main } from "assemblyscript/asc";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../assembly");

/** The bytes of one variant. */
async function compile(features) {
  const files = new Map();
  const { error, stderr } = await main(
    ["index.ts", "-O3", "--runtime", "stub", "--use", "abort=", "--noAssert", ...features, "--outFile", "kernels.wasm"],
    {
      readFile: (name) => {
        try {
          return readFileSync(resolve(folder, name), "utf8");
        } catch {
          return null; // asc tries several names for an import
        }
      },
      writeFile: (name, contents) => void files.set(name, contents),
      listFiles: () => [],
    },
  );
  if (error) throw new Error(`AssemblyScript could not compile ${folder}:\n${stderr}`, { cause: error });
  return files.get("kernels.wasm");
}

/** The text of src/kernels/binaries.ts. */
export async function kernelBinaries() {
  const simd = Buffer.from(await compile(["--enable", "simd"])).toString("base64");
  const relaxed = Buffer.from(await compile(["--enable", "simd", "--enable", "relaxed-simd"])).toString("base64");
  return `// Made from assembly/ by scripts/build-kernels.js; do not edit. Base64 of WebAssembly modules.

export const simdBinary: string =
  "${simd}";

export const relaxedSimdBinary: string =
  "${relaxed}";
`;
}
