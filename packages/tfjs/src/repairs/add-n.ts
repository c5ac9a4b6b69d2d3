import * as tf from "@tensorflow/tfjs";

/** A WebGPU shader may read and write 8 buffers where a device grants no more. */
const most = 7;

/** AddN of the webgpu backend, which gives each input a buffer and 0 where there are too many: seven at a time. */
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
