import type * as tf from "@tensorflow/tfjs-core";

/** The part of tfjs' webgl backend that runs custom programs. */
export interface WebGlBackend extends tf.KernelBackend {
  runWebGLProgram(program: object, inputs: tf.TensorInfo[], dtype: tf.DataType): tf.TensorInfo;
}
