export { defaultEvaluationLimits } from "./call.ts";
export type { EvaluationLimits } from "./call.ts";
export { EvaluationError, EvaluationLimitError, MissingValueError, UnsupportedOperatorError } from "./errors.ts";
export { evaluateGraph, evaluateNode } from "./graph.ts";
export type { EvaluationOptions } from "./graph.ts";
export { axisView, stridedPositions, stridesOf } from "./positions.ts";
export { supportedOperators } from "./registry.ts";
export {
  decodeTensor,
  elementCount,
  encodeTensor,
  isFloat,
  isInteger,
  isSupportedType,
  makeData,
  roundInPlace,
  tensorOf,
} from "./tensor.ts";
export type { Tensor, TensorData } from "./tensor.ts";
