import * as tf from "@tensorflow/tfjs-core";

/** Cast on wasm. The original makes booleans by cutting numbers to a byte, which turns 0.5 and 256 into false. */
export function castToBool(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const x = call.inputs["x"] as tf.Tensor;
    const { dtype } = call.attrs as { dtype: tf.DataType };
    if (dtype !== "bool" || (x.dtype !== "float32" && x.dtype !== "int32")) return original(call);
    return tf.notEqual(x, tf.scalar(0, x.dtype));
  };
}
