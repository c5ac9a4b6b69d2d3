import { setFlagsFromString } from "node:v8";
import { supportsSimd } from "../../src/kernels/webassembly.ts";

// Node 20 has relaxed SIMD behind a flag of its engine; later versions have it, and no such flag.
if (process.versions.node.startsWith("20.")) setFlagsFromString("--experimental-wasm-relaxed-simd");

/** The choices of `createKernels` that this engine can run: tests go over all. */
export const runnableKernels: readonly ("off" | "strict" | "relaxed")[] = supportsSimd("relaxed-simd")
  ? ["off", "strict", "relaxed"]
  : ["off", "strict"];
