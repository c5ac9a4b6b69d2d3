import type * as tf from "@tensorflow/tfjs";

/** A WebAssembly.Memory, as far as it is used. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** The part of tfjs' wasm backend that kernels of its own use. */
export interface WasmBackend extends tf.KernelBackend {
  /** The emscripten module: `asm` of the plain build exports the memory, `wasmMemory` is that of the threaded one. */
  readonly wasm: {
    readonly asm?: { readonly memory?: WasmMemory };
    readonly wasmMemory?: WasmMemory;
    readonly HEAPU8: Uint8Array;
    _malloc: (bytes: number) => number;
  };
  readonly dataIdMap: { get(dataId: tf.DataId): { readonly memoryOffset: number } };
  /** Memory for a result; may move the heap, so that views taken before are of no more use. */
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  /** The numbers of a tensor where they lie. */
  typedArrayFromHeap(x: tf.TensorInfo): Float32Array | Int32Array | Uint8Array;
}
