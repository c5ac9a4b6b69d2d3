export { MissingValueError } from "@favor/onnx/evaluate";
export { FeedError, OperatorError, UnsupportedOperatorError, VariableError } from "./errors.ts";
export type { Feed, ValueInfo } from "./feeds.ts";
export { OnnxModel } from "./onnx-model.ts";
export type { LoadOptions, RunOptions } from "./onnx-model.ts";
export { supportedOperators } from "./operators/registry.ts";
export type { Consumer } from "./weights/consumers.ts";
export type { Trainable } from "./weights/initializers.ts";
