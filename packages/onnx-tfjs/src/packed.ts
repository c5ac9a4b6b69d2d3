import * as tf from "@tensorflow/tfjs-core";
import { isDevice, type Value } from "./value.ts";

/** Whether a value is on the device and has a gradient. */
export function isDeviceFloat(value: Value | null): value is tf.Tensor {
  return value !== null && isDevice(value) && value.dtype === "float32";
}

/** The floats on the device as one tensor, for a gradient function has one result: itself, or all in a row. */
export function packed(outputs: readonly Value[]): tf.Tensor {
  const floats = outputs.filter(isDeviceFloat);
  if (floats.length === 0) return tf.scalar(0);
  if (floats.length === 1) return tf.clone(floats[0]!);
  return tf.concat(floats.map((tensor) => tf.reshape(tensor, [tensor.size])));
}

/** The values whose floats are {@link packed}. */
export function unpacked(value: tf.Tensor, outputs: readonly Value[]): Value[] {
  if (outputs.filter(isDeviceFloat).length === 1) {
    return outputs.map((output) => (isDeviceFloat(output) ? value : output));
  }
  let begin = 0;
  return outputs.map((output) => {
    if (!isDeviceFloat(output)) return output;
    const part = tf.reshape(tf.slice(value, [begin], [output.size]), output.shape);
    begin += output.size;
    return part;
  });
}

/** The gradients of `f` in `xs` for that of its result, inside a backward pass; zeros where it does not depend on them. */
export function gradientsOf(f: () => tf.Tensor, xs: readonly tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  // A tape inside a backward pass would take the place of the outer one, whose saved tensors are still to be freed.
  const outer = state.activeTape;
  try {
    const { value, grads } = tf.engine().gradients(f, [...xs], dy, true);
    value.dispose();
    return grads.map((gradient, i) => gradient ?? tf.zerosLike(xs[i]!));
  } finally {
    state.activeTape = outer;
  }
}
