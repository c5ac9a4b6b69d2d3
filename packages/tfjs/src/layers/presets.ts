import type { FeatureMapDescription } from "@favor/core";
import type { PerformerMaskedLMArgs } from "./performer-masked-lm.ts";

/** Sizes for `performerMaskedLM`, except for vocabulary and length. */
export type MaskedLMPreset = Omit<PerformerMaskedLMArgs, "vocabularySize" | "maxLength">;

/** Orthogonal features for heads of `dim`. FAVOR+ estimates softmax; ReLU features are an attention of their own. */
function orthogonal(kind: "positive" | "relu", count: number, dim: number): FeatureMapDescription {
  const projection = { kind: "orthogonal", count, dim, seed: 0 } as const;
  return kind === "positive"
    ? { version: 1, kind, projection }
    : { version: 1, kind: "generalized", function: kind, projection };
}

const paperSizes = { numLayers: 36, modelDim: 512, numHeads: 8, feedForwardDim: 1024, dropout: 0.1 };

/**
 * - `tiny`: 2 layers of width 64, 4 heads, M = 64; trains on a CPU in minutes.
 * - `base`: the sizes of BERT base (1810.04805, section 3): 12 layers of width 768, 12 heads, M = 256.
 * - `paper`: the protein models of the Performer paper (2009.14794, section 4.4 and the appendix on hyperparameters):
 *   36 layers of width 512, 8 heads, feed-forward 1024, M = 256, dropout 0.1, with ReLU features, which the paper found
 *   best for proteins. `paperSoftmax`: the same with FAVOR+ features.
 */
export const maskedLMPresets: Readonly<Record<"tiny" | "base" | "paper" | "paperSoftmax", MaskedLMPreset>> = {
  tiny: { numLayers: 2, modelDim: 64, numHeads: 4, feedForwardDim: 256, attention: orthogonal("positive", 64, 16) },
  base: {
    numLayers: 12,
    modelDim: 768,
    numHeads: 12,
    feedForwardDim: 3072,
    dropout: 0.1,
    attention: orthogonal("positive", 256, 64),
  },
  paper: { ...paperSizes, attention: orthogonal("relu", 256, 64) },
  paperSoftmax: { ...paperSizes, attention: orthogonal("positive", 256, 64) },
};
