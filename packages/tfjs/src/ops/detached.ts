import * as tf from "@tensorflow/tfjs-core";

/**
 * The value of f() as a constant: nothing in it is recorded for the backward pass. Use it for comparisons and rounding,
 * which tfjs cannot differentiate, and for stabilisers, whose gradients cancel exactly.
 */
export function detached<T extends tf.TensorContainer>(f: () => T): T {
  const { state } = tf.engine();
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}
