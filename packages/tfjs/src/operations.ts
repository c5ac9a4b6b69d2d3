// The operations alone: they need no more of TensorFlow.js than its core, and importing them registers nothing.
export { detached } from "./ops/detached.ts";
export { exactAttention } from "./ops/exact-attention.ts";
export type { ExactAttentionOptions } from "./ops/exact-attention.ts";
export { favorAttention } from "./ops/favor-attention.ts";
export type { FavorAttentionOptions } from "./ops/favor-attention.ts";
export { FavorState, startFavor } from "./ops/favor-state.ts";
export { hybridAttention } from "./ops/hybrid-attention.ts";
export type { HybridAttentionOptions } from "./ops/hybrid-attention.ts";
export type { ExactKeys } from "./ops/hybrid/exact-keys.ts";
export { softmaxAttention } from "./ops/renamed.ts";
export type { AttentionOptions } from "./attention-inputs.ts";
export type { FeatureMaps } from "./ops/feature-parameters.ts";
export { causalLinearAttention } from "./kernels/causal-linear-attention.ts";
export type { CausalLinearAttentionOptions } from "./kernels/causal-linear-attention.ts";
export { repairBackend } from "./repairs/repair-backend.ts";
