import * as tf from "@tensorflow/tfjs";

/** A function of tensors that records its gradient only while it is being differentiated. */
export type TensorFunction = (...inputs: tf.Tensor[]) => tf.Tensor;

/**
 * `f` whose intermediate results are not kept for the backward pass but computed again there (gradient checkpointing):
 * between the passes only the inputs are alive. `f` must depend on nothing differentiable but its arguments. The result
 * has exact gradients for every argument.
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
 * Gradients of f inside the gradient function of another. tfjs clears the engine's tape at the end of every outermost
 * `tf.grads`, and its backward pass no longer counts as being inside one: the tape of the outer pass is put back.
 */
function innerGradients(f: TensorFunction, inputs: tf.Tensor[], dy: tf.Tensor): tf.Tensor[] {
  const { state } = tf.engine();
  const outer = state.activeTape;
  const { grads } = tf.engine().gradients(() => f(...inputs), inputs, dy, true);
  if (state.gradientDepth === 0) state.activeTape = outer;
  // an input that f does not use, or uses only as a constant, has no path to y
  return inputs.map((input, i) => (grads[i] as tf.Tensor | undefined) ?? tf.zerosLike(input));
}
