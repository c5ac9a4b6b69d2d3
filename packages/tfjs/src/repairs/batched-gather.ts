import * as tf from "@tensorflow/tfjs";

/**
 * GatherV2 on wasm, as one gather over all batches, whose rows become one axis. The original reads the wrong places if
 * `batchDims` is above 1. x `[...batch, ...outer, rows, ...inner]` and indices `[...batch, ...picks]` give `[...batch,
 * ...outer, ...picks, ...inner]`.
 */
export function batchedGather(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { x, indices } = call.inputs as { x: tf.Tensor; indices: tf.Tensor };
    const { axis, batchDims } = call.attrs as { axis: number; batchDims: number };
    if (batchDims < 2) return original(call);
    return tf.tidy(() => {
      const at = tf.util.parseAxisParam(axis, x.shape)[0]!;
      const batch = x.shape.slice(0, batchDims);
      const outer = range(batchDims, at);
      const inner = range(at + 1, x.rank);
      const rows = x.shape[at]!;
      const rowsFirst = tf.transpose(x, [...range(0, batchDims), at, ...outer, ...inner]);
      const items = tf.util.sizeFromShape(batch);
      const table = tf.reshape(rowsFirst, [items * rows, ...rowsFirst.shape.slice(batchDims + 1)]);
      const starts = tf.mul(tf.range(0, items, 1, "int32"), tf.scalar(rows, "int32"));
      const picked = tf.add(tf.reshape(indices, [items, -1]), tf.expandDims(starts, 1));
      const found = tf.gather(table, tf.reshape(picked, [-1]).toInt());
      const picks = indices.shape.slice(batchDims);
      const result = tf.reshape(found, [...batch, ...picks, ...rowsFirst.shape.slice(batchDims + 1)]);
      const picksAt = range(batchDims, batchDims + picks.length);
      const outerAt = range(batchDims + picks.length, batchDims + picks.length + outer.length);
      const innerAt = range(batchDims + picks.length + outer.length, result.rank);
      return tf.transpose(result, [...range(0, batchDims), ...outerAt, ...picksAt, ...innerAt]);
    });
  };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}
