import * as tf from "@tensorflow/tfjs-core";

/** A function of tensors whose gradient is recorded only while it is being differentiated. */
export type TensorFunction = (...inputs: tf.Tensor[]) => tf.Tensor;

/**
 * `f` with gradient checkpointing: its intermediate results are recomputed in the backward pass, so between the passes
 * only the inputs are alive. `f` must depend on nothing differentiable but its arguments. The result has exact
 * gradients for every argument.
 */
export function recomputed(f: TensorFunction): TensorFunction {
  return (...inputs) => {
    const withGradient = tf.customGrad((...parameters) => {
      const save = parameters.pop() as tf.GradSaveFunc;
      const tensors = parameters as tf.Tensor[];
      save(tensors);
      return {
        value: tf.tidy(() => f(...tensors)),
        gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => innerGradients(f, saved, dy),
      };
    });
    return withGradient(...inputs);
  };
}

/**
 * Gradients of f inside the gradient function of another. tfjs clears the tape of the engine at the end of every
 * outermost `tf.grads`, and no longer counts its backward pass as being inside one, so the tape of the outer pass is
 * restored.
 */
function innerGradients(f: TensorFunction, inputs: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  const outer = state.activeTape;
  const { grads } = tf.engine().gradients(() => f(...inputs), inputs, dy, true);
  if (state.gradientDepth === 0) state.activeTape = outer;
  // an input that f does not use, or uses only as a constant, has no path to y
  return inputs.map((input, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zerosLike(input));
}
