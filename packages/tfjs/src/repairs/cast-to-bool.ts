import * as tf from "@tensorflow/tfjs";

/** Cast of the wasm backend, which cuts numbers to a byte to make booleans: 0.5 and 256 become false. */
export function castToBool(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const x = call.inputs["x"] as tf.Tensor;
    const { dtype } = call.attrs as { dtype: tf.DataType };
    if (dtype !== "bool" || (x.dtype !== "float32" && x.dtype !== "int32")) return original(call);
    return tf.notEqual(x, tf.scalar(0, x.dtype));
  };
}
