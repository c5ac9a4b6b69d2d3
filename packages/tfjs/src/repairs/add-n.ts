import * as tf from "@tensorflow/tfjs-core";

/** WebGPU guarantees a shader 8 buffers; some devices grant no more. */
const most = 7;

/**
 * AddN on webgpu, seven tensors at a time. The original gives each tensor a buffer, and gives 0 if there are too many.
 */
export function addInSevens(original: tf.KernelFunc): tf.KernelFunc {
  return (call) => {
    const terms = Object.values(call.inputs) as tf.Tensor[];
    if (terms.length <= most) return original(call);
    return tf.tidy(() => {
      const rest = [...terms];
      while (rest.length > 1) rest.push(tf.addN(rest.splice(0, most)));
      return rest[0]!;
    });
  };
}
