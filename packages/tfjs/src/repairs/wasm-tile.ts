import type * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "../kernels/wasm-backend.ts";

/** Tile on wasm by copying runs, each twice as long as the last. The original looks up every number on its own. */
export function tileByRuns(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x } = call.inputs as { x: tf.Tensor };
    const { reps } = call.attrs as { reps: number[] };
    if (x.dtype !== "float32" && x.dtype !== "int32" && x.dtype !== "bool") return original(call);
    const backend = call.backend as WasmBackend;
    const out = backend.makeOutput(
      x.shape.map((length, axis) => length * reps[axis]!),
      x.dtype,
    );
    const numbers = backend.typedArrayFromHeap(out);
    if (numbers.length === 0) return out;
    numbers.set(backend.typedArrayFromHeap(x));
    // from the last axis to the first; blocks grow from the back, so that none is overwritten before it is copied
    let [blocks, block] = [x.size, 1];
    for (let axis = x.rank - 1; axis >= 0; axis--) {
      blocks /= x.shape[axis]!;
      block *= x.shape[axis]!;
      const count = reps[axis]!;
      if (count === 1) continue;
      for (let b = blocks - 1; b >= 0; b--) {
        const to = b * block * count;
        if (block === 1) numbers.fill(numbers[b]!, to, to + count);
        else repeat(numbers, b * block, to, block, count);
      }
      block *= count;
    }
    return out;
  };
}

/** Writes `count` copies of the `length` numbers at `from` to `to`, which does not come before `from`. */
function repeat(
  x: Float32Array | Int32Array | Uint8Array,
  from: number,
  to: number,
  length: number,
  count: number,
): void {
  x.copyWithin(to, from, from + length);
  for (let done = 1; done < count; done *= 2) {
    x.copyWithin(to + done * length, to, to + Math.min(done, count - done) * length);
  }
}
