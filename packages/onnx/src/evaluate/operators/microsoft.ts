import { DataType } from "../../model/proto.ts";
import { fillCausalBias, fillKeyBias, keyBiasDims } from "../../semantics/attention-bias.ts";
import { hasInexact, inexact, shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { computed, mapBinary, mapUnary } from "../positions.ts";
import type { Tensor } from "../tensor.ts";
import { gelu, geluTanh, sigmoid } from "./activations.ts";
import { attentionProbabilities, mergeHeads, rotate, splitHeads } from "./attention.ts";
import { sliceAxis, transposed } from "./layout.ts";
import { layerNormalised } from "./normalisation.ts";
import { matmul, matrixTransposed } from "./product.ts";
import { quantisationOperators } from "./quantisation.ts";
import { reshaped } from "./shape.ts";

function added(call: OperatorCall, a: Tensor, b: Tensor | null): Tensor {
  return b === null ? a : mapBinary(call, a, b, a.dataType, (x, y) => x + y);
}

/** An activation of x + bias. */
const biased = (f: (x: number) => number) => (call: OperatorCall) => {
  const sum = added(call, call.input(0), call.optional(1));
  const data = call.data(sum.dims, sum.dataType);
  for (let i = 0; i < data.length; i++) data[i] = f(sum.data[i]!);
  return [computed(sum.dims, sum.dataType, data)];
};

/** LayerNormalization of input + skip + bias; outputs: result, mean, inverse deviation, the sum. */
const skipLayerNormalization =
  (rms: boolean) =>
  (call: OperatorCall): Tensor[] => {
    const skip = call.input(1);
    const beta = rms ? null : call.optional(3);
    const sum = added(call, added(call, call.input(0), skip), call.optional(rms ? 3 : 4));
    const axis = sum.dims.length - 1;
    const epsilon = call.float("epsilon", 1e-12);
    const [result, ...statistics] = layerNormalised(call, sum, call.input(2), beta, axis, epsilon, rms);
    const [mean, inverse] = rms ? [statistics[0]!, statistics[0]!] : [statistics[0]!, statistics[1]!];
    return [result!, mean, inverse, sum];
  };

/** Sum of word, position and segment embeddings, normalised; and the length of each sequence from its mask. */
const embedLayerNormalization = (call: OperatorCall): Tensor[] => {
  const ids = call.input(0);
  const segments = call.optional(1);
  const [words, places, segmentTable] = [call.input(2), call.input(3), call.optional(4)];
  const positions = call.optional(8);
  const [batch = 0, length = 0] = ids.dims;
  const width = words.dims[1] ?? 0;
  const dims = [batch, length, width];
  const data = call.data(dims, words.dataType);
  const add = (token: number, table: Tensor, row: number) => {
    if (!(row >= 0 && row < table.dims[0]!)) call.fail(`index ${row} is out of bounds for ${table.dims[0]} rows`);
    for (let i = 0; i < width; i++) data[token * width + i]! += table.data[row * width + i]!;
  };
  for (let token = 0; token < batch * length; token++) {
    add(token, words, ids.data[token]!);
    add(token, places, positions === null ? token % length : positions.data[token % positions.data.length]!);
    if (segmentTable !== null && segments !== null) add(token, segmentTable, segments.data[token]!);
  }
  const sum = computed(dims, words.dataType, data);
  const epsilon = call.float("epsilon", 1e-12);
  const [result] = layerNormalised(call, sum, call.input(5), call.input(6), 2, epsilon);
  const mask = call.optional(7);
  const lengths = call.data([batch], DataType.INT32);
  for (let i = 0; i < (mask?.data.length ?? 0); i++) lengths[Math.floor(i / length)]! += mask!.data[i] === 0 ? 0 : 1;
  return [result!, { dims: [batch], dataType: DataType.INT32, data: lengths }, sum];
};

/** A mask as a bias that is added to scores; null without a mask. */
function keyBias(call: OperatorCall, mask: Tensor | null, batch: number, keys: number, filter: number): Tensor | null {
  if (mask === null) return null;
  if (hasInexact(mask)) throw call.unsupported(inexact);
  const dims = keyBiasDims(mask, batch, keys);
  if (dims === undefined) throw call.unsupported(`a mask of shape ${shown(mask.dims)} is not evaluated`);
  const given = mask.dims.length > 1 ? mask.dims : dims;
  const bias = call.data(given, DataType.DOUBLE);
  fillKeyBias(bias, mask, keys, filter);
  return reshaped(call, { dims: given, dataType: DataType.DOUBLE, data: bias }, dims);
}

/** A bias, added to scores, that hides the keys after each query. */
function causalBias(call: OperatorCall, queries: number, keys: number, filter: number): Tensor {
  const dims = [1, 1, queries, keys];
  const bias = call.data(dims, DataType.DOUBLE);
  fillCausalBias(bias, queries, keys, filter);
  return { dims, dataType: DataType.DOUBLE, data: bias };
}

/** Softmax attention of split heads [B, H, S, d], merged: [B, S, H d]. */
function headsAttention(
  call: OperatorCall,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  mask: Tensor | null,
  extra: Tensor | null,
): Tensor {
  const [batch = 0, , queries = 0, width = 0] = query.dims;
  const keys = key.dims[2]!;
  // 0 and absent both mean the default.
  const scale = call.float("scale", 0) || 1 / Math.sqrt(width);
  const filter = call.float("mask_filter_value", -10000);
  const parts = [keyBias(call, mask, batch, keys, filter), extra];
  if (call.int("unidirectional", 0) !== 0) parts.push(causalBias(call, queries, keys, filter));
  const present = parts.filter((part) => part !== null);
  const bias =
    present.length === 0 ? null : present.reduce((a, b) => mapBinary(call, a, b, DataType.DOUBLE, (x, y) => x + y));
  const logits = matmul(call, query, matrixTransposed(call, key), DataType.DOUBLE, scale);
  const { probabilities } = attentionProbabilities(call, { logits, bias });
  return mergeHeads(call, matmul(call, probabilities, value, query.dataType));
}

/** Attention with one packed projection: input [B, S, D], weight [D, 3 D'], bias [3 D'], mask. */
const packedAttention = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  if (call.optional(4) !== null || call.int("do_rotary", 0) !== 0) {
    throw call.unsupported("a past or rotary positions are not evaluated");
  }
  const packed = added(call, matmul(call, source, call.input(1), source.dataType), call.optional(2));
  const width = packed.dims[2]!;
  const sizes = call.ints("qkv_hidden_sizes") ?? [width / 3, width / 3, width / 3];
  const heads = call.int("num_heads") ?? call.fail("num_heads is required");
  let start = 0;
  const [query, key, value] = sizes.map((size) => {
    start += size;
    return splitHeads(call, sliceAxis(call, packed, 2, start - size, start), heads);
  });
  if (query === undefined || key === undefined || value === undefined) call.fail("qkv_hidden_sizes needs three sizes");
  return [headsAttention(call, query, key, value, call.optional(3), call.optional(5))];
};

/** Attention of query, key and value [B, S, H d], a bias for the three, a mask. */
const multiHeadAttention = (call: OperatorCall): Tensor[] => {
  const heads = call.int("num_heads") ?? call.fail("num_heads is required");
  if (call.inputs.slice(6).some((past) => past !== null)) throw call.unsupported("a past is not evaluated");
  const bias = call.optional(3);
  let start = 0;
  const [query, key, value] = [0, 1, 2].map((index) => {
    const source = call.input(index);
    if (source.dims.length !== 3) throw call.unsupported("packed or split heads are not evaluated");
    const size = source.dims[2]!;
    start += size;
    const own = bias === null ? null : sliceAxis(call, bias, 0, start - size, start);
    return splitHeads(call, added(call, source, own), heads);
  });
  return [headsAttention(call, query!, key!, value!, call.optional(4), call.optional(5))];
};

/** alpha * A' B', the last two axes exchanged on request. */
const fusedMatMul = (call: OperatorCall): Tensor[] => {
  const side = (index: number, name: "A" | "B"): Tensor => {
    const given = call.input(index);
    const { length } = given.dims;
    // The matrix's first axis lies before the batch.
    const moves = call.int(`transBatch${name}`, 0) !== 0 && length > 2;
    const order = [...Array.from({ length: length - 2 }, (_, i) => i + 1), 0, length - 1];
    const factor = moves ? transposed(call, given, order) : given;
    return call.int(`trans${name}`, 0) === 0 ? factor : matrixTransposed(call, factor);
  };
  const a = side(0, "A");
  return [matmul(call, a, side(1, "B"), a.dataType, call.float("alpha", 1))];
};

/** A W' with W [N, K] in integers of `bits` bits, packed along K, a scale and zero point for each block. */
const matMulNBits = (call: OperatorCall): Tensor[] => {
  const a = call.input(0);
  const packed = call.input(1).data;
  const scales = call.input(2);
  const zeroPoints = call.optional(3);
  const [k, n, bits, blockSize] = [call.int("K", 0), call.int("N", 0), call.int("bits", 4), call.int("block_size", 0)];
  if (call.optional(4) !== null) throw call.unsupported("reordered groups are not evaluated");
  if (8 % bits !== 0 || blockSize <= 0)
    throw call.unsupported(`${bits} bits in blocks of ${blockSize} are not evaluated`);
  const blocks = Math.ceil(k / blockSize);
  const rowBytes = blocks * Math.ceil((blockSize * bits) / 8);
  if (packed.length !== n * rowBytes || scales.data.length !== n * blocks)
    call.fail("its weight has not K times N values");
  const code = (from: Tensor["data"], row: number, bytesPerRow: number, i: number) =>
    (from[row * bytesPerRow + Math.floor((i * bits) / 8)]! >> ((i * bits) % 8)) & ((1 << bits) - 1);
  const isPacked = zeroPoints?.dataType === DataType.UINT8;
  const weight = call.data([k, n], DataType.DOUBLE);
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < k; i++) {
      const block = Math.floor(i / blockSize);
      const zero =
        zeroPoints === null
          ? 1 << (bits - 1)
          : isPacked
            ? code(zeroPoints.data, row, Math.ceil((blocks * bits) / 8), block)
            : zeroPoints.data[row * blocks + block]!;
      weight[i * n + row] = (code(packed, row, rowBytes, i) - zero) * scales.data[row * blocks + block]!;
    }
  }
  const product = matmul(call, a, { dims: [k, n], dataType: DataType.DOUBLE, data: weight }, a.dataType);
  return [added(call, product, call.optional(5))];
};

/** RotaryEmbedding: x, position_ids ([B, S], or [1]: the first position), cos, sin. */
const rotaryEmbedding = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const positions = call.input(1);
  const cos = call.input(2);
  const merged = source.dims.length === 3;
  const rotaryWidth = call.int("rotary_embedding_dim", 0) || 2 * (cos.dims.at(-1) ?? 1);
  const heads = call.int("num_heads", 0) || (merged ? source.dims[2]! / rotaryWidth : 1);
  const split = merged ? splitHeads(call, source, heads) : source;
  const length = split.dims[2]!;
  const first = positions.data.length === 1 ? positions.data[0]! : null;
  const rotated = rotate(call, split, {
    cos,
    sin: call.input(3),
    positions: (b, s) => (first === null ? positions.data[b * length + s]! : first + s),
    interleaved: call.int("interleaved", 0) !== 0,
  });
  return [merged ? mergeHeads(call, rotated) : rotated];
};

/** Operators that onnxruntime's optimizer writes (com.microsoft), as far as float models use them. */
export const microsoftOperators: OperatorTable = {
  QuantizeLinear: quantisationOperators.QuantizeLinear!,
  DequantizeLinear: quantisationOperators.DequantizeLinear!,
  BiasGelu: biased(gelu),
  FastGelu: biased(geluTanh),
  Gelu: (call) => [mapUnary(call, call.input(0).dataType, gelu)],
  QuickGelu: (call) => {
    const alpha = call.float("alpha", 1.702);
    return [mapUnary(call, call.input(0).dataType, (x) => x * sigmoid(alpha * x))];
  },
  SkipLayerNormalization: skipLayerNormalization(false),
  SkipSimplifiedLayerNormalization: skipLayerNormalization(true),
  EmbedLayerNormalization: embedLayerNormalization,
  Attention: packedAttention,
  MultiHeadAttention: multiHeadAttention,
  FusedMatMul: fusedMatMul,
  MatMulNBits: matMulNBits,
  RotaryEmbedding: rotaryEmbedding,
};
