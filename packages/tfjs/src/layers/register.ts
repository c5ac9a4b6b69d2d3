import * as tf from "@tensorflow/tfjs";
import { FavorAttention } from "./favor-attention.ts";
import { MultiHeadAttention } from "./multi-head-attention.ts";
import { PerformerEncoderLayer } from "./performer-encoder-layer.ts";
import { PerformerEncoder } from "./performer-encoder.ts";
import { PerformerMaskedLM } from "./performer-masked-lm.ts";

/** The layer classes of this package. Importing any of them registers all, so that `tf.loadLayersModel` finds them. */
export const layerClasses: readonly [
  typeof FavorAttention,
  typeof MultiHeadAttention,
  typeof PerformerEncoderLayer,
  typeof PerformerEncoder,
  typeof PerformerMaskedLM,
] = [FavorAttention, MultiHeadAttention, PerformerEncoderLayer, PerformerEncoder, PerformerMaskedLM];

/** Makes the layers known to `tf.loadLayersModel`. */
export function registerLayers(): void {
  for (const layer of layerClasses)
    tf.serialization.registerClass(layer as tf.serialization.SerializableConstructor<tf.layers.Layer>);
}

registerLayers();
