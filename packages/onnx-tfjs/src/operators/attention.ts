import { hiddenKeys } from "@favor/onnx/semantics";
import { detached } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import type { OperatorCall, OperatorTable } from "../operator-call.ts";
import { dimsOf, type Value } from "../value.ts";
import { mergeHeads, repeatHeads, splitHeads } from "./heads.ts";
import { linearAttention } from "./linear-attention.ts";
import { rotate } from "./rotary.ts";
import { softmaxAttention } from "./softmax-attention.ts";

/** A mask `[..., queries, keys]` as an additive one: true is 0, false -Infinity; keys missing at its end are hidden. */
function additive(call: OperatorCall, mask: Value, keys: number): tf.Tensor {
  const given = call.onDevice(mask);
  const bias = given.dtype === "bool" ? detached(() => tf.where(given, 0, -Infinity)) : tf.cast(given, "float32");
  const own = bias.shape.at(-1) ?? call.fail("its mask is a scalar");
  if (own === 1 || own >= keys) return bias;
  const padding = bias.shape.map((_, axis): [number, number] => [0, axis === bias.rank - 1 ? keys - own : 0]);
  return tf.pad(bias, padding, -Infinity);
}

/** Which keys a query may see besides the mask, as an additive mask `[batch or 1, 1, queries, keys]`; none if all. */
function positionBias(call: OperatorCall, queries: number, keys: number, past: number): tf.Tensor[] {
  const hidden = hiddenKeys(call, queries, keys, past);
  if (hidden === undefined) return [];
  const bias = new Float32Array(hidden.batch * queries * keys);
  for (let i = 0; i < bias.length; i++) if (hidden.hides(i)) bias[i] = -Infinity;
  return [tf.tensor(bias, [hidden.batch, 1, queries, keys])];
}

/**
 * The operator Attention of opsets 23 and later: heads in the last axis or an axis of their own, grouped queries, a
 * past, masks, causal order counted from the end of the past, soft-capping.
 */
const attention = (call: OperatorCall): Value[] => {
  const merged = call.dims(0).length === 3;
  const heads = (index: number, name: string): tf.Tensor4D => {
    const source = call.device(index);
    if (!merged) return source as tf.Tensor4D;
    return splitHeads(call, source, call.int(name) ?? call.fail(`${name} is required`));
  };
  const withPast = (current: tf.Tensor4D, index: number): tf.Tensor4D => {
    const past = call.optionalDevice(index);
    return past === null ? current : (tf.concat([past, current], 2) as tf.Tensor4D);
  };
  const query = heads(0, "q_num_heads");
  const presentKey = withPast(heads(1, "kv_num_heads"), 4);
  const presentValue = withPast(heads(2, "kv_num_heads"), 5);
  const [, headCount, queries, width] = query.shape;
  const keys = presentKey.shape[2];
  const mask = call.optional(3);
  const past = call.has(4) ? dimsOf(call.input(4))[2]! : 0;
  const stages = softmaxAttention(call, {
    query,
    key: repeatHeads(call, presentKey, headCount),
    value: repeatHeads(call, presentValue, headCount),
    scale: call.float("scale", 1 / Math.sqrt(width)),
    biases: [...(mask === null ? [] : [additive(call, mask, keys)]), ...positionBias(call, queries, keys, past)],
    mayHideAll: true,
    softcap: call.float("softcap", 0),
  });
  const exposed = [stages.logits, stages.capped, stages.biased, stages.probabilities];
  return [
    merged ? mergeHeads(stages.output) : stages.output,
    presentKey,
    presentValue,
    exposed[call.int("qk_matmul_output_mode", 0)] ?? call.fail("qk_matmul_output_mode is not in 0 to 3"),
  ];
};

/** RotaryEmbedding of opset 23: x, cos, sin, optional position_ids [batch, length]. */
const rotaryEmbedding = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const merged = source.rank === 3;
  const split = merged
    ? splitHeads(call, source, call.int("num_heads") ?? call.fail("num_heads is required"))
    : (source as tf.Tensor4D);
  const rotated = rotate(call, split, {
    cos: call.device(1),
    sin: call.device(2),
    positions: call.optionalDevice(3),
    interleaved: call.int("interleaved", 0) !== 0,
  });
  return [merged ? mergeHeads(rotated) : rotated];
};

/** Attention and rotary positions of the standard domain. */
export const attentionOperators: OperatorTable = {
  Attention: attention,
  RotaryEmbedding: rotaryEmbedding,
  LinearAttention: linearAttention,
};
