import * as tf from "@tensorflow/tfjs-core";

/**
 * Cumsum and Cumprod on webgpu, reversed before and after. The original reversed form compiles the length of the first
 * tensor into a shader, and then uses it for every length.
 */
export function cumulativeByReversal(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const { axis, reverse } = call.attrs as { axis: number; reverse: boolean };
    if (!reverse) return original(call);
    return tf.tidy(() => {
      const x = tf.reverse(call.inputs["x"] as tf.Tensor, axis);
      const { dataId, shape, dtype } = original({
        ...call,
        inputs: { x },
        attrs: { ...call.attrs, reverse: false },
      }) as tf.TensorInfo;
      return tf.reverse(tf.engine().makeTensorFromDataId(dataId, shape, dtype), axis);
    });
  };
}
