import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "../kernels/wasm-backend.ts";

/**
 * Multiplications, rows and columns of an item below which transposing, packing and extra calls cost more than they
 * save.
 */
const smallest = 1 << 15;
const narrowest = 8;

/**
 * BatchMatMul on wasm by the backend's own fast path, which takes only single items that are not transposed. Transposes
 * first, then takes one product per item; linear attention has one per sequence and head. Items are copied within the
 * backend's memory. Each is freed before the next, because the fast path keeps a packed copy of every right operand
 * that lives. Small or narrow products and broadcast batches go to `original`. Where the inner dimension is empty, which
 * leaves the result as the memory was, it is 0.
 */
export function itemwiseMatMul(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { a, b } = call.inputs as { a: tf.Tensor; b: tf.Tensor };
    const { transposeA, transposeB } = call.attrs as { transposeA: boolean; transposeB: boolean };
    const batch = a.shape.slice(0, -2);
    const items = tf.util.sizeFromShape(batch);
    const inner = a.shape.at(transposeA ? -2 : -1)!;
    const rows = a.shape.at(transposeA ? -1 : -2)!;
    const columns = b.shape.at(transposeB ? -2 : -1)!;
    const backend = call.backend as WasmBackend;
    if (inner === 0) {
      const joint = tf.backend_util.assertAndGetBroadcastShape(batch, b.shape.slice(0, -2));
      const zeros = backend.makeOutput([...joint, rows, columns], "float32");
      backend.typedArrayFromHeap(zeros).fill(0);
      return zeros;
    }
    const alreadyFast = items === 1 && !transposeA && !transposeB;
    const fits = a.dtype === "float32" && b.dtype === "float32" && tf.util.arraysEqual(batch, b.shape.slice(0, -2));
    const worthwhile = rows * inner * columns >= smallest && Math.min(rows, columns) >= narrowest;
    if (alreadyFast || items === 0 || !fits || !worthwhile) return original(call);
    const product = (x: tf.Tensor, y: tf.Tensor): tf.Tensor => {
      const attrs = { transposeA: false, transposeB: false };
      return owned(original({ inputs: { a: x, b: y }, backend, attrs }) as tf.TensorInfo);
    };
    // kernels may return tensors; tidy keeps the result and frees the rest, also if memory ends
    return tf.tidy(() => {
      const left = asItems(a, items, transposeA);
      const right = asItems(b, items, transposeB);
      if (items === 1) return tf.reshape(product(left, right), [...batch, rows, columns]);
      const joined = owned(backend.makeOutput([...batch, rows, columns], "float32"));
      const x = owned(backend.makeOutput([1, rows, inner], "float32"));
      for (let item = 0; item < items; item++) {
        const y = owned(backend.makeOutput([1, inner, columns], "float32"));
        copy(backend, left, item * x.size, x, 0, x.size);
        copy(backend, right, item * y.size, y, 0, y.size);
        const made = product(x, y);
        copy(backend, made, 0, joined, item * made.size, made.size);
        tf.dispose([made, y]);
      }
      return joined;
    });
  };
}

/** The tensor of a kernel's output, which the engine frees. */
function owned({ dataId, shape, dtype }: tf.TensorInfo): tf.Tensor {
  return tf.engine().makeTensorFromDataId(dataId, shape, dtype);
}

/** Copies numbers of one tensor to a place in another. */
function copy(backend: WasmBackend, from: tf.Tensor, start: number, to: tf.Tensor, at: number, count: number): void {
  backend.typedArrayFromHeap(to).set(backend.typedArrayFromHeap(from).subarray(start, start + count), at);
}

/** x `[..., rows, columns]` as `[items, rows, columns]`, its last two dimensions exchanged if `transpose`. */
function asItems(x: tf.Tensor, items: number, transpose: boolean): tf.Tensor {
  const flat = tf.reshape(x, [items, ...x.shape.slice(-2)]);
  return transpose ? tf.transpose(flat, [0, 2, 1]) : flat;
}
