import { fillCausalBias, fillKeyBias, keyBiasDims } from "@favor/onnx/semantics";
import * as tf from "@tensorflow/tfjs-core";
import { shown, type OperatorCall } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { sliceAxis } from "./axis.ts";
import { definedProduct } from "./defined-product.ts";
import { mergeHeads, repeatHeads, splitHeads } from "./heads.ts";
import { rotate } from "./rotary.ts";
import { softmaxAttention } from "./softmax-attention.ts";

/** A mask as what is added to scores; none without a mask. */
function keyBias(call: OperatorCall, index: number, batch: number, keys: number, filter: number): tf.Tensor[] {
  if (!call.has(index)) return [];
  const mask = call.host(index);
  const dims = keyBiasDims(mask, batch, keys);
  if (dims === undefined) throw call.unsupported(`a mask of shape ${shown(mask.dims)} does not run`);
  const bias = new Float32Array(mask.dims.length > 1 ? mask.data.length : batch * keys);
  fillKeyBias(bias, mask, keys, filter);
  return [tf.tensor(bias, [...dims])];
}

/** What hides the keys after each query, as what is added to scores. */
function causalBias(queries: number, keys: number, filter: number): tf.Tensor {
  const bias = new Float32Array(queries * keys);
  fillCausalBias(bias, queries, keys, filter);
  return tf.tensor(bias, [1, 1, queries, keys]);
}

interface Heads {
  readonly query: tf.Tensor4D;
  readonly key: tf.Tensor4D;
  readonly value: tf.Tensor4D;
}

/** Softmax attention of split heads, merged: [batch, length, heads dim]. Input `mask` hides, input `bias` is added. */
function headsAttention(call: OperatorCall, heads: Heads, mask: number, bias: number): tf.Tensor {
  const [batch, , queries, width] = heads.query.shape;
  const keys = heads.key.shape[2];
  const filter = call.float("mask_filter_value", -10000);
  const added = call.optionalDevice(bias);
  const stages = softmaxAttention(call, {
    ...heads,
    // 0 and absent both mean the default.
    scale: call.float("scale", 0) || 1 / Math.sqrt(width),
    biases: [
      ...keyBias(call, mask, batch, keys, filter),
      ...(added === null ? [] : [added]),
      ...(call.int("unidirectional", 0) === 0 ? [] : [causalBias(queries, keys, filter)]),
    ],
    mayHideAll: false,
  });
  return mergeHeads(stages.output);
}

/** Columns `[start, start + size)` of the last axis. */
function columns(source: tf.Tensor, start: number, size: number): tf.Tensor {
  const before = source.shape.slice(0, -1);
  return tf.slice(source, [...before.map(() => 0), start], [...before, size]);
}

/** The parts of the last axis, of the given sizes. */
function partsOf(source: tf.Tensor, sizes: readonly number[]): tf.Tensor[] {
  let start = 0;
  return sizes.map((size) => {
    start += size;
    return columns(source, start - size, size);
  });
}

/** Attention with one packed projection: input [batch, length, D], weight [D, 3 D'], bias [3 D'], mask. */
export const packedAttention = (call: OperatorCall): Value[] => {
  if (call.has(4) || call.int("do_rotary", 0) !== 0) {
    throw call.unsupported("a past or rotary positions do not run");
  }
  const source = call.device(0);
  const [batch = 0, length = 0, width = 0] = source.shape;
  const weight = call.device(1) as tf.Tensor2D;
  const product = definedProduct(tf.reshape(source, [batch * length, width]), weight);
  const bias = call.optionalDevice(2);
  const packedWidth = weight.shape[1];
  const packed = tf.reshape(bias === null ? product : tf.add(product, bias), [batch, length, packedWidth]);
  const sizes = call.ints("qkv_hidden_sizes") ?? [packedWidth / 3, packedWidth / 3, packedWidth / 3];
  const heads = call.int("num_heads") ?? call.fail("num_heads is required");
  const [query, key, value] = partsOf(packed, sizes).map((part) => splitHeads(call, part, heads));
  if (query === undefined || key === undefined || value === undefined) call.fail("qkv_hidden_sizes needs three sizes");
  return [headsAttention(call, { query, key, value }, 3, 5)];
};

/** One of the packed parts of [batch, length, heads, parts, dim], as [batch, heads, length, dim]. */
function unpacked(packed: tf.Tensor, part: number): tf.Tensor4D {
  const [batch = 0, length = 0, heads = 0, , dim = 0] = packed.shape;
  const own = sliceAxis(packed, 3, part, 1);
  return tf.transpose(tf.reshape(own, [batch, length, heads, dim]), [0, 2, 1, 3]);
}

const biased = (x: tf.Tensor, bias: tf.Tensor | undefined): tf.Tensor => (bias === undefined ? x : tf.add(x, bias));

/**
 * Query, key and value of MultiHeadAttention: [batch, length, heads dim] each with one bias for the three; or packed,
 * [batch, length, heads, 3, dim]; or key and value packed, [batch, keys, heads, 2, dim], or as heads already.
 */
function multipleHeads(call: OperatorCall, heads: number): Heads {
  const source = call.device(0);
  if (source.rank === 5) return { query: unpacked(source, 0), key: unpacked(source, 1), value: unpacked(source, 2) };
  const bias = call.optionalDevice(3);
  const [key, value] = [call.device(1), call.optionalDevice(2)];
  const width = source.shape[2] ?? 0;
  const [queryBias, keyBiasPart, valueBias] = bias === null ? [] : partsOf(bias, [width, width, bias.size - 2 * width]);
  const query = splitHeads(call, biased(source, queryBias), heads);
  if (key.rank === 5) return { query, key: unpacked(key, 0), value: unpacked(key, 1) };
  if (value === null) call.fail("input 2 is required and absent");
  if (key.rank === 4) return { query, key: key as tf.Tensor4D, value: value as tf.Tensor4D };
  return {
    query,
    key: splitHeads(call, biased(key, keyBiasPart), heads),
    value: splitHeads(call, biased(value, valueBias), heads),
  };
}

/** Attention of query, key and value, see {@link multipleHeads}; a past is put before them, and given back. */
export const multiHeadAttention = (call: OperatorCall): Value[] => {
  const current = multipleHeads(call, call.int("num_heads") ?? call.fail("num_heads is required"));
  if (call.inputs.slice(8).some((input) => input !== null)) throw call.unsupported("a shared past does not run");
  if (call.wants(3)) throw call.unsupported("the output qk does not run");
  const withPast = (present: tf.Tensor4D, index: number): tf.Tensor4D => {
    const past = call.optionalDevice(index);
    return past === null ? present : (tf.concat([past, present], 2) as tf.Tensor4D);
  };
  const heads = { ...current, key: withPast(current.key, 6), value: withPast(current.value, 7) };
  return [headsAttention(call, heads, 4, 5), heads.key, heads.value];
};

/**
 * GroupQueryAttention without a past: query, key and value [batch, length, heads dim], or the three packed in the last
 * axis; causal; rotary positions inside the operator; the number of tokens of each row, less one.
 */
export const groupQueryAttention = (call: OperatorCall): Value[] => {
  const isFilled = (index: number): boolean => call.has(index) && call.dims(index)[2] !== 0;
  if (isFilled(3) || isFilled(4)) throw call.unsupported("a past does not run");
  if (call.int("local_window_size", -1) > 0) throw call.unsupported("a window of keys does not run");
  if (call.int("smooth_softmax", 0) > 0 || call.has(11)) throw call.unsupported("an attention sink does not run");
  if (call.wants(3)) throw call.unsupported("the output qk does not run");
  const headCount = call.int("num_heads") ?? call.fail("num_heads is required");
  const keyHeads = call.int("kv_num_heads") ?? call.fail("kv_num_heads is required");
  const source = call.device(0);
  const dim = (source.shape[2] ?? 0) / (call.has(1) ? headCount : headCount + 2 * keyHeads);
  const [q, k, v] = call.has(1)
    ? [source, call.device(1), call.device(2)]
    : partsOf(source, [headCount * dim, keyHeads * dim, keyHeads * dim]);
  const value = splitHeads(call, v!, keyHeads);
  const [query, key] = [splitHeads(call, q!, headCount), splitHeads(call, k!, keyHeads)].map((x) =>
    call.int("do_rotary", 0) === 0 ? x : rotatedFromStart(call, x),
  ) as [tf.Tensor4D, tf.Tensor4D];
  const [batch, , length] = query.shape;
  const last = call.host(5).data;
  const bias = new Float32Array(batch * length * length);
  for (let i = 0; i < bias.length; i++) {
    const [row, column] = [Math.floor(i / length) % length, i % length];
    if (column > row || column > last[Math.floor(i / length ** 2)]!) bias[i] = -Infinity;
  }
  const added = call.optionalDevice(10);
  const stages = softmaxAttention(call, {
    query,
    key: repeatHeads(call, key, headCount),
    value: repeatHeads(call, value, headCount),
    scale: call.float("scale", 0) || 1 / Math.sqrt(dim),
    softcap: call.float("softcap", 0),
    biases: [tf.tensor(bias, [batch, 1, length, length]), ...(added === null ? [] : [added])],
    mayHideAll: true,
  });
  return [mergeHeads(stages.output), key, value];
};

/** Rotary positions of [batch, heads, length, dim]: the given ones, or 0, 1, ... */
function rotatedFromStart(call: OperatorCall, source: tf.Tensor4D): tf.Tensor4D {
  const positions = call.optionalDevice(9) ?? tf.reshape(tf.range(0, source.shape[2], 1, "int32"), [1, -1]);
  const interleaved = call.int("rotary_interleaved", 0) !== 0;
  return rotate(call, source, { cos: call.device(7), sin: call.device(8), positions, interleaved });
}

/** RotaryEmbedding: x, position_ids ([batch, length], or [1]: the first position), cos, sin. */
export const microsoftRotaryEmbedding = (call: OperatorCall): Value[] => {
  const source = call.device(0);
  const cos = call.device(2);
  const merged = source.rank === 3;
  const rotaryWidth = call.int("rotary_embedding_dim", 0) || 2 * (cos.shape.at(-1) ?? 1);
  const heads = call.int("num_heads", 0) || (merged ? source.shape[2]! / rotaryWidth : 1);
  const split = merged ? splitHeads(call, source, heads) : (source as tf.Tensor4D);
  const length = split.shape[2];
  const given = call.device(1);
  const positions =
    given.size === 1
      ? tf.add(tf.reshape(tf.range(0, length, 1, "int32"), [1, length]), tf.reshape(given, [1, 1]))
      : given;
  const interleaved = call.int("interleaved", 0) !== 0;
  const rotated = rotate(call, split, { cos, sin: call.device(3), positions, interleaved });
  return [merged ? mergeHeads(rotated) : rotated];
};
