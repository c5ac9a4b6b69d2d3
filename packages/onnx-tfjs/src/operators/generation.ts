import { DataType } from "@favor/onnx";
import { evaluateNode, tensorOf } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import { hostLimits, type OperatorCall, type OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";

/** Ones on a diagonal of a matrix as large as the input, whose values do not matter. */
const eyeLike = (call: OperatorCall): Value[] => {
  const like = tensorOf(DataType.FLOAT, call.dims(0), new Float32Array(tf.util.sizeFromShape([...call.dims(0)])));
  return evaluateNode(call.node, [like], { opsets: call.context.opset, limits: hostLimits });
};

/** off + onehot (on - off) along a new axis, differentiable for the two values. */
const oneHot = (call: OperatorCall): Value[] => {
  const [indices, depth] = [call.host(0), call.host(1)];
  const places = tensorOf(DataType.FLOAT, [2], [0, 1]);
  const [hot] = evaluateNode(call.node, [indices, depth, places], { opsets: call.context.opset, limits: hostLimits });
  const [off, on] = tf.unstack(call.device(2)) as [tf.Tensor, tf.Tensor];
  return [tf.add(tf.mul(call.onDevice(hot!), tf.sub(on, off)), off)];
};

/** Operators that make tensors of parameters. */
export const generationOperators: OperatorTable = {
  EyeLike: eyeLike,
  OneHot: oneHot,
  // Its bounds decide on a length: they are read back.
  Range: (call) => call.evaluateOnHost(),
};
