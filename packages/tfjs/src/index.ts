export * from "./operations.ts";

export { FavorAttention } from "./layers/favor-attention.ts";
export type { FavorAttentionArgs } from "./layers/favor-attention.ts";
export { layerClasses } from "./layers/register.ts";
export { MultiHeadAttention } from "./layers/multi-head-attention.ts";
export type { MultiHeadAttentionArgs } from "./layers/multi-head-attention.ts";
export type { AttentionKind } from "./layers/attention-maps.ts";
export { PerformerEncoderLayer } from "./layers/performer-encoder-layer.ts";
export type { PerformerEncoderLayerArgs } from "./layers/performer-encoder-layer.ts";
export { PerformerEncoder } from "./layers/performer-encoder.ts";
export type { PerformerEncoderArgs } from "./layers/performer-encoder.ts";
export { PerformerMaskedLM, performerMaskedLM } from "./layers/performer-masked-lm.ts";
export type { PerformerMaskedLMArgs } from "./layers/performer-masked-lm.ts";
export { maskedLMPresets } from "./layers/presets.ts";
export type { MaskedLMPreset } from "./layers/presets.ts";
export { maskedCrossEntropy } from "./layers/masked-cross-entropy.ts";
export { redrawEvery, redrawProjections } from "./layers/redraw.ts";
