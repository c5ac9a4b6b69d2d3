import * as tf from "@tensorflow/tfjs-core";

/**
 * UnsortedSegmentSum, the gradient of `gather` and so of every embedding: out[s] = the sum of x[i] with ids[i] = s, in
 * one pass over x. wasm has no such kernel; the original on cpu costs O(segments x size) time and memory. Ids outside 0
 * to segments - 1 are left out.
 */
export const segmentSum: tf.KernelFunc = ({ inputs, backend, attrs }) => {
  const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
  const { numSegments } = attrs as { numSegments: number };
  const storage = backend as tf.KernelBackend;
  const values = storage.readSync(x.dataId) as tf.TypedArray;
  const ids = storage.readSync(segmentIds.dataId) as tf.TypedArray;
  const idShape = segmentIds.shape;
  const width = tf.util.sizeFromShape(x.shape.slice(idShape.length));
  const shape = [numSegments, ...x.shape.slice(idShape.length)];
  const sums = x.dtype === "int32" ? new Int32Array(numSegments * width) : new Float32Array(numSegments * width);
  for (let i = 0; i < ids.length; i++) {
    const segment = ids[i]!;
    if (segment < 0 || segment >= numSegments) continue;
    for (let l = 0; l < width; l++) sums[segment * width + l]! += values[i * width + l]!;
  }
  return { dataId: storage.write(sums, shape, x.dtype), shape, dtype: x.dtype };
};
