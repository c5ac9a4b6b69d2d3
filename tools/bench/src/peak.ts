import { readFile } from "node:fs/promises";
import { main } from "assemblyscript/asc";
import { shortest } from "./timing.ts";

const OPERATIONS_PER_TURN = 80;

/**
 * The machine's peak of float32 arithmetic in WebAssembly SIMD on one thread, in GFLOP/s, by assembly/peak.ts.
 * @param relaxed With fused multiply-add, which the engine must have.
 */
export async function simdPeak(relaxed: boolean, seconds: number): Promise<number> {
  const source = new URL("../assembly/peak.ts", import.meta.url);
  let binary: Uint8Array | null = null;
  const features = ["--enable", "simd", ...(relaxed ? ["--enable", "relaxed-simd"] : [])];
  const { error } = await main(["peak.ts", "-O3", "--runtime", "stub", ...features, "--outFile", "peak.wasm"], {
    readFile: (name) => (name === "peak.ts" ? readFile(source, "utf8") : null),
    writeFile: (name, contents) => {
      if (name === "peak.wasm" && typeof contents !== "string") binary = contents;
    },
    listFiles: () => [],
  });
  if (error || !binary) throw new Error(`assembly/peak.ts did not compile: ${String(error)}`);
  const { instance } = await WebAssembly.instantiate(binary as BufferSource);
  const chains = instance.exports.chains as (turns: number, factor: number) => number;
  const turns = 1_000_000;
  return (OPERATIONS_PER_TURN * turns) / (await shortest(() => void chains(turns, 0.5), seconds)) / 1e6;
}
