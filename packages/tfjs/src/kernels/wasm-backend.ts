import type * as tf from "@tensorflow/tfjs-core";

/** The part of WebAssembly.Memory that we use. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

/** The part of tfjs' wasm backend that custom kernels use. */
export interface WasmBackend extends tf.KernelBackend {
  /** The emscripten module. The plain build exports its memory in `asm`, the threaded build as `wasmMemory`. */
  readonly wasm: {
    readonly asm?: { readonly memory?: WasmMemory };
    readonly wasmMemory?: WasmMemory;
    readonly HEAPU8: Uint8Array;
    _malloc: (bytes: number) => number;
  };
  readonly dataIdMap: { get(dataId: tf.DataId): { readonly memoryOffset: number } };
  /** Allocates a result. This may move the heap, which invalidates earlier views. */
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
  /** A view of the numbers of a tensor. */
  typedArrayFromHeap(x: tf.TensorInfo): Float32Array | Int32Array | Uint8Array;
}
