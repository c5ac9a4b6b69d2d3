import * as tf from "@tensorflow/tfjs";
import { MultiHeadAttention } from "./multi-head-attention.ts";
import { PerformerEncoderLayer } from "./performer-encoder-layer.ts";

/** The layer classes of this package, registered when it is imported: `tf.loadLayersModel` finds them. */
export const layerClasses: readonly [typeof MultiHeadAttention, typeof PerformerEncoderLayer] = [
  MultiHeadAttention,
  PerformerEncoderLayer,
];

for (const layer of layerClasses)
  tf.serialization.registerClass(layer as tf.serialization.SerializableConstructor<tf.layers.Layer>);
