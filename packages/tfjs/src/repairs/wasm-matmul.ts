import * as tf from "@tensorflow/tfjs";

/** Below as many multiplications per item, transposing (one item) or slicing (several) costs more than it gains. */
const smallestOfOne = 1 << 15;
const smallestOfMany = 1 << 21;

/**
 * BatchMatMul of the wasm backend by its own fast path, which takes un-transposed operands of one item only: transposes
 * first, then one product per item. Small products and broadcast batches go to `original` as they are.
 */
export function itemwiseMatMul(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { a, b } = call.inputs as { a: tf.Tensor; b: tf.Tensor };
    const { transposeA, transposeB } = call.attrs as { transposeA: boolean; transposeB: boolean };
    const items = tf.util.sizeFromShape(a.shape.slice(0, -2));
    const inner = a.shape.at(transposeA ? -2 : -1)!;
    const rows = a.shape.at(transposeA ? -1 : -2)!;
    const columns = b.shape.at(transposeB ? -2 : -1)!;
    const alreadyFast = items === 1 && !transposeA && !transposeB;
    const sameBatch = tf.util.arraysEqual(a.shape.slice(0, -2), b.shape.slice(0, -2));
    if (
      alreadyFast ||
      !sameBatch ||
      items === 0 ||
      rows * inner * columns < (items === 1 ? smallestOfOne : smallestOfMany)
    )
      return original(call);
    // kernels may return tensors; tidy keeps the result and frees the rest
    return tf.tidy(() => {
      const left = asItems(a, items, transposeA);
      const right = asItems(b, items, transposeB);
      const products: tf.Tensor[] = [];
      for (let item = 0; item < items; item++) {
        const [x, y] = items === 1 ? [left, right] : [itemOf(left, item), itemOf(right, item)];
        const attrs = { transposeA: false, transposeB: false };
        const { dataId, shape, dtype } = original({
          inputs: { a: x!, b: y! },
          backend: call.backend,
          attrs,
        }) as tf.TensorInfo;
        products.push(tf.engine().makeTensorFromDataId(dataId, shape, dtype));
      }
      const joined = products.length === 1 ? products[0]! : tf.concat(products, 0);
      return tf.reshape(joined, [...a.shape.slice(0, -2), rows, columns]);
    });
  };
}

/** x `[..., rows, columns]` as `[items, rows, columns]`, its last two dimensions exchanged if `transpose`. */
function asItems(x: tf.Tensor, items: number, transpose: boolean): tf.Tensor {
  const flat = tf.reshape(x, [items, ...x.shape.slice(-2)]);
  return transpose ? tf.transpose(flat, [0, 2, 1]) : flat;
}

function itemOf(x: tf.Tensor, item: number): tf.Tensor {
  return tf.slice(x, [item, 0, 0], [1, x.shape[1]!, x.shape[2]!]);
}
