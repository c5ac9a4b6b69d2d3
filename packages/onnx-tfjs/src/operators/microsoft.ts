import { DataType } from "@favor/onnx";
import { tensorOf } from "@favor/onnx/evaluate";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { gelu, geluTanh, quickGelu } from "./gelu.ts";
import { linearAttention } from "./linear-attention.ts";
import {
  groupQueryAttention,
  microsoftRotaryEmbedding,
  multiHeadAttention,
  packedAttention,
} from "./microsoft-attention.ts";
import { layerNormalised, layerStatistics, type LayerNormParts } from "./normalisation.ts";
import { matMulNBits } from "./block-weights.ts";
import { quantisationOperators } from "./quantisation.ts";
import type { RowNorm } from "./row-normalisation.ts";

/** An activation of x + bias. */
const biased = (activation: (x: tf.Tensor) => tf.Tensor) => (call: OperatorCall) => {
  const bias = call.optionalDevice(1);
  return [activation(bias === null ? call.device(0) : tf.add(call.device(0), bias))];
};

/** LayerNormalization of input + skip + bias; outputs: result, mean, inverse deviation, the sum. */
const skipLayerNormalization =
  (norm: RowNorm) =>
  (call: OperatorCall): Value[] => {
    const added = tf.add(call.device(0), call.device(1));
    const bias = call.optionalDevice(norm === "rms" ? 3 : 4);
    const sum = bias === null ? added : tf.add(added, bias);
    const parts: LayerNormParts = {
      source: sum,
      scale: call.device(2),
      bias: norm === "rms" ? null : call.optionalDevice(3),
      axis: sum.rank - 1,
      epsilon: call.float("epsilon", 1e-12),
      norm,
    };
    const result = layerNormalised(call, parts);
    // Outputs that the node does not name are not read.
    const statistics = call.wants(1) || call.wants(2) ? layerStatistics(parts) : [result];
    return [result, statistics[0]!, statistics.at(-1)!, sum];
  };

/** Sum of word, position and segment embeddings, normalised; and the length of each sequence from its mask. */
const embedLayerNormalization = (call: OperatorCall): Value[] => {
  const [batch = 0, length = 0] = call.dims(0);
  const words = tf.gather(call.device(2), call.device(0));
  const places = call.optionalDevice(8) ?? tf.range(0, length, 1, "int32");
  let sum = tf.add(words, tf.gather(call.device(3), places));
  const segments = call.optionalDevice(1);
  const segmentTable = call.optionalDevice(4);
  if (segments !== null && segmentTable !== null) sum = tf.add(sum, tf.gather(segmentTable, segments));
  const epsilon = call.float("epsilon", 1e-12);
  const result = layerNormalised(call, {
    source: sum,
    scale: call.device(5),
    bias: call.device(6),
    axis: 2,
    epsilon,
    norm: "deviation",
  });
  const lengths = new Int32Array(batch);
  if (call.has(7)) {
    for (const [i, visible] of call.host(7).data.entries()) lengths[Math.floor(i / length)]! += visible === 0 ? 0 : 1;
  }
  return [result, tensorOf(DataType.INT32, [batch], lengths), sum];
};

/** Operators of onnxruntime (com.microsoft), as far as float models use them. */
export const microsoftOperators: OperatorTable = {
  QuantizeLinear: quantisationOperators["QuantizeLinear"]!,
  DequantizeLinear: quantisationOperators["DequantizeLinear"]!,
  BiasGelu: biased(gelu),
  FastGelu: biased(geluTanh),
  Gelu: (call) => [gelu(call.device(0))],
  QuickGelu: (call) => [quickGelu(call.device(0), call.float("alpha", 1.702))],
  SkipLayerNormalization: skipLayerNormalization("deviation"),
  SkipSimplifiedLayerNormalization: skipLayerNormalization("rms"),
  EmbedLayerNormalization: embedLayerNormalization,
  Attention: packedAttention,
  MultiHeadAttention: multiHeadAttention,
  GroupQueryAttention: groupQueryAttention,
  RotaryEmbedding: microsoftRotaryEmbedding,
  LinearAttention: linearAttention,
  MatMulNBits: matMulNBits,
};
