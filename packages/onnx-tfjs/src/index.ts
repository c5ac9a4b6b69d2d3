export { FeedError, MissingValueError, OperatorError, UnsupportedOperatorError, VariableError } from "./errors.ts";
export { supportedOperators } from "./operators/registry.ts";
