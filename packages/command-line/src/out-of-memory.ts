import { FavorError } from "@favor/core";

/** The process ran out of memory: exit code 1. */
export class MemoryError extends FavorError<"out-of-memory"> {}

/** How V8, Node, WebAssembly and onnxruntime say that there is no memory left. */
const exhausted =
  /^(Array buffer allocation failed|Out of memory|WebAssembly\.Memory\(\): could not allocate memory|WebAssembly\.\w+\(\): Out of memory)|std::bad_alloc|Failed to allocate memory for requested buffer/i;

/** Codes of Node for the same. */
const codes: readonly unknown[] = ["ERR_MEMORY_ALLOCATION_FAILED", "ERR_WORKER_OUT_OF_MEMORY", "ENOMEM"];

/**
 * What to say if an error, or one that caused it, means that memory ran out: the model or the file is then not to blame,
 * whatever the code that met it thought. `undefined` for any other error.
 */
export function outOfMemory(error: unknown): MemoryError | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (!exhausted.test(at.message) && !("code" in at && codes.includes(at.code))) continue;
    return new MemoryError(
      "There is not enough memory to go on. Close other programs, use a machine with more memory, or make the work " +
        "smaller: fewer --threads, shorter sequences, a smaller batch.",
      { code: "out-of-memory", cause: error, details: { found: at.message } },
    );
  }
  return undefined;
}
