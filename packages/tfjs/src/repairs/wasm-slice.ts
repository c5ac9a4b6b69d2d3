import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "../kernels/wasm-backend.ts";

/**
 * Slice on wasm, which copies only what is asked for, in contiguous runs. The original copies all of its input first.
 */
export function sliceInPlace(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x } = call.inputs as { x: tf.Tensor };
    const { begin, size } = call.attrs as { begin: number[]; size: number[] };
    if (x.dtype !== "float32" && x.dtype !== "int32" && x.dtype !== "bool") return original(call);
    const backend = call.backend as WasmBackend;
    const [from, shape] = tf.slice_util.parseSliceParams(x, begin, size) as [number[], number[]];
    tf.slice_util.assertParamsValid(x, from, shape);
    const out = backend.makeOutput(shape, x.dtype);
    copyRuns(backend.typedArrayFromHeap(out), backend.typedArrayFromHeap(x), x.shape, from, shape);
    return out;
  };
}

/**
 * SplitV on wasm, the gradient of concat among others, as a {@link sliceInPlace} for each part. The original copies all of its
 * input for each, and goes number by number if it has more than four axes.
 */
export function splitInPlace(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x } = call.inputs as { x: tf.Tensor };
    const { numOrSizeSplits, axis } = call.attrs as { numOrSizeSplits: number | number[]; axis: number };
    if (x.dtype !== "float32" && x.dtype !== "int32" && x.dtype !== "bool") return original(call);
    const backend = call.backend as WasmBackend;
    const at = tf.util.parseAxisParam(axis, x.shape)[0]!;
    const begin = x.shape.map(() => 0);
    return tf.backend_util.prepareSplitSize(x, numOrSizeSplits, at).map((length) => {
      const shape = x.shape.map((whole, l) => (l === at ? length : whole));
      const out = backend.makeOutput(shape, x.dtype);
      copyRuns(backend.typedArrayFromHeap(out), backend.typedArrayFromHeap(x), x.shape, begin, shape);
      begin[at]! += length;
      return out;
    });
  };
}

type Numbers = Float32Array | Int32Array | Uint8Array;

/** Below this, a loop is faster than a memory copy. */
const shortRun = 32;

/**
 * A run covers the last axes that are wanted whole and the axis before them; runs follow along the next axis before.
 */
function copyRuns(out: Numbers, x: Numbers, full: number[], from: number[], shape: number[]): void {
  if (out.length === 0) return;
  let axis = full.length - 1;
  while (axis > 0 && shape[axis] === full[axis]) axis--;
  const run = tf.util.sizeFromShape(shape.slice(axis));
  const rows = axis > 0 ? shape[axis - 1]! : 1;
  const strides = [...tf.util.computeStrides(full), 1];
  const stride = axis > 0 ? strides[axis - 1]! : 0;
  const position = from.slice();
  for (let written = 0; written < out.length;) {
    let start = position.reduce((sum, index, l) => sum + index * strides[l]!, 0);
    for (let row = 0; row < rows; row++, start += stride, written += run) {
      if (run >= shortRun) out.set(x.subarray(start, start + run), written);
      else for (let i = 0; i < run; i++) out[written + i] = x[start + i]!;
    }
    // the next position of the axes before the rows
    for (let l = axis - 2; l >= 0; l--) {
      position[l]!++;
      if (position[l]! < from[l]! + shape[l]!) break;
      position[l] = from[l]!;
    }
  }
}
