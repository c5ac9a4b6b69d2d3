import * as tf from "@tensorflow/tfjs-core";

/**
 * Zeros that count as a function of `inputs`, whose gradients are zeros too. For tensors without elements, which the
 * kernels of webgl and webgpu do not take.
 */
export function zerosOf(inputs: readonly tf.Tensor[], shape: number[]): tf.Tensor {
  const shapes = inputs.map((x) => x.shape);
  return tf.customGrad((...parameters) => {
    (parameters.pop() as unknown as tf.GradSaveFunc)([]);
    return { value: tf.zeros(shape), gradFunc: () => shapes.map((each) => tf.zeros(each)) };
  })(...inputs);
}
