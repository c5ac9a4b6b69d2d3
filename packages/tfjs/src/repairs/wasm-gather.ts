import * as tf from "@tensorflow/tfjs-core";
import type { WasmBackend } from "../kernels/wasm-backend.ts";

/**
 * GatherV2 on wasm, which copies whole slices. The original looks up every number on its own, and reads the wrong places if
 * `batchDims` is above 1. x `[...batch, ...outer, rows, ...inner]` and indices `[...batch, ...picks]` give `[...batch,
 * ...outer, ...picks, ...inner]`. An index outside 0 to rows - 1 is an error.
 */
export function gatherSlices(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x, indices } = call.inputs as { x: tf.Tensor; indices: tf.Tensor };
    const { axis, batchDims } = call.attrs as { axis: number; batchDims: number };
    const isCopied = x.dtype === "float32" || x.dtype === "int32" || x.dtype === "bool";
    if (!isCopied || indices.dtype !== "int32") return original(call);
    const at = tf.util.parseAxisParam(axis, x.shape)[0]!;
    const { batchSize, outerSize, dimSize, sliceSize, outputShape } =
      tf.backend_util.segment_util.collectGatherOpShapeInfo(x, indices, at, batchDims);
    const backend = call.backend as WasmBackend;
    const made = backend.makeOutput(outputShape, x.dtype);
    // after the allocation, which may move the heap
    const [out, source] = [backend.typedArrayFromHeap(made), backend.typedArrayFromHeap(x)];
    const picks = backend.typedArrayFromHeap(indices);
    const count = picks.length / batchSize;
    for (const pick of picks) {
      if (pick >= 0 && pick < dimSize) continue;
      throw new Error(`GatherV2: the index value ${pick} is not in [0, ${dimSize - 1}]`);
    }
    let written = 0;
    for (let group = 0; group < batchSize * outerSize; group++) {
      const first = Math.floor(group / outerSize) * count;
      for (let i = first; i < first + count; i++, written += sliceSize) {
        const start = (group * dimSize + picks[i]!) * sliceSize;
        if (sliceSize === 1) out[written] = source[start]!;
        else out.set(source.subarray(start, start + sliceSize), written);
      }
    }
    return made;
  };
}
