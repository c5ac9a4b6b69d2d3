export { ArgumentError, FavorError } from "./errors.ts";
export type { FavorErrorOptions } from "./errors.ts";

export { causalLinearAttentionBackward } from "./attention/causal-backward.ts";
export { causalLinearAttention } from "./attention/causal.ts";
export type { CausalOptions } from "./attention/causal.ts";
export { startCausal } from "./attention/causal-state.ts";
export type { CausalState } from "./attention/causal-state.ts";
export { linearAttentionBackward } from "./attention/linear-backward.ts";
export type { LinearGradients } from "./attention/linear-backward.ts";
export { linearAttention } from "./attention/linear.ts";
export type { LinearInput, LinearShape } from "./attention/linear-shape.ts";
export { stepCausal } from "./attention/streaming.ts";
export type { StreamingToken } from "./attention/streaming.ts";
