import { FavorError } from "@favor/core";
import type * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "../kernels/wasm-backend.ts";

const guarded = new WeakSet<object>();

/**
 * Makes allocations on wasm fail when memory ends. The original takes the address of a failed allocation for memory,
 * and sizes modulo 4 GiB for sizes, and overwrites its other tensors. Returns whether this is new.
 */
export function guardAllocation(backend: tf.KernelBackend): boolean {
  const { wasm } = backend as WasmBackend;
  if (guarded.has(wasm)) return false;
  guarded.add(wasm);
  const allocate = wasm._malloc.bind(wasm);
  wasm._malloc = (bytes) => {
    const address = allocate(bytes);
    const lies = (address >>> 0) + bytes > wasm.HEAPU8.length;
    if (lies || (address === 0 && bytes > 0)) {
      throw new FavorError(
        `The wasm backend cannot allocate ${Math.ceil(bytes / 2 ** 20)} MiB more: its memory ends at 4 GiB. Dispose of tensors, shorten the sequence or the batch, or use FAVOR instead of softmax.`,
        { code: "out-of-memory" },
      );
    }
    return address;
  };
  return true;
}
