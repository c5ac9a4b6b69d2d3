import { FavorError } from "@favor/core";
import { kernelBinary, sharedMemoryBinary } from "./binaries.ts";
import type { WasmMemory } from "./wasm-backend.ts";

/** The functions of assembly/, which take addresses in bytes. */
export interface KernelModule {
  readonly causalLinearAttention: (
    y: number,
    q: number,
    k: number,
    v: number,
    gates: number,
    state: number,
    length: number,
    features: number,
    width: number,
    reversed: boolean,
  ) => void;
}

// The parts of the platform that we use, read by name: our types assume neither a browser nor Node.
interface Engine {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: KernelModule };
}

const modules = new WeakMap<WasmMemory, KernelModule>();

/**
 * The kernels of assembly/ over the memory of another program.
 *
 * @throws FavorError `simd-unavailable` if the engine does not run WebAssembly SIMD.
 */
export function moduleOn(memory: WasmMemory): KernelModule {
  const known = modules.get(memory);
  if (known) return known;
  const engine: Engine = Reflect.get(globalThis, "WebAssembly" as string);
  const atob: (base64: string) => string = Reflect.get(globalThis, "atob" as string);
  const shared = Object.prototype.toString.call(memory.buffer) === "[object SharedArrayBuffer]";
  const bytes = Uint8Array.from(atob(shared ? sharedMemoryBinary : kernelBinary), (c) => c.codePointAt(0)!);
  let exports: KernelModule;
  try {
    ({ exports } = new engine.Instance(new engine.Module(bytes), { env: { memory } }));
  } catch (cause) {
    const message = `The wasm kernel of causal attention cannot run here (${String(cause)}). Use another tfjs backend.`;
    throw new FavorError(message, { code: "simd-unavailable", cause });
  }
  modules.set(memory, exports);
  return exports;
}
