import { ArgumentError, FavorError } from "../errors.ts";
import type { BlockKernels } from "./block-kernels.ts";
import { typescriptKernels } from "./plain.ts";
import { supportsSimd, webAssemblyKernels } from "./webassembly.ts";
import { requireOptions } from "../options.ts";

export interface KernelOptions {
  /**
   * - `"auto"` (default): the fastest that the engine runs: relaxed SIMD (fused multiply-add), else SIMD, else
   *   plain TypeScript.
   * - `"relaxed"`, `"strict"`: that WebAssembly module or an error. Strict SIMD gives the same bits on every machine.
   * - `"off"`: plain TypeScript.
   */
  readonly simd?: "auto" | "relaxed" | "strict" | "off";
}

/**
 * Kernels for the float32 attentions; `kind` says which were chosen. Each call makes an independent set with its own
 * workspace, for one computation at a time. Making one takes about a millisecond.
 *
 * @throws FavorError `simd-unavailable` if you ask for a module that the engine cannot run.
 */
export function createKernels(options: KernelOptions = {}): BlockKernels {
  requireOptions("options", options, { simd: true });
  const { simd = "auto" } = options;
  switch (simd) {
    case "off":
      return typescriptKernels();
    case "relaxed":
      return webAssemblyKernels("relaxed-simd");
    case "strict":
      return webAssemblyKernels("simd");
    case "auto":
      return automatic();
    default:
      throw new ArgumentError("simd", '"auto", "relaxed", "strict" or "off"', simd);
  }
}

function automatic(): BlockKernels {
  for (const kind of ["relaxed-simd", "simd"] as const) {
    if (!supportsSimd(kind)) continue;
    try {
      return webAssemblyKernels(kind);
    } catch (error) {
      // a page's security policy may forbid what the engine supports
      if (!FavorError.isInstance(error)) throw error;
    }
  }
  return typescriptKernels();
}
