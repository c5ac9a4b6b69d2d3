export { favorAttention } from "./ops/favor-attention.ts";
export type { FavorAttentionOptions } from "./ops/favor-attention.ts";
export { softmaxAttention } from "./ops/softmax-attention.ts";
export type { SoftmaxAttentionOptions } from "./ops/softmax-attention.ts";
export type { AttentionOptions } from "./ops/attention-inputs.ts";
export type { FeatureMaps } from "./ops/feature-parameters.ts";
