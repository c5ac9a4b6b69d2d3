import { DataType } from "../../model/proto.ts";
import { hiddenKeys } from "../../semantics/attention-order.ts";
import { broadcastDims } from "../../semantics/shapes.ts";
import { shown, type OperatorCall, type OperatorTable } from "../call.ts";
import { broadcastPositions, broadcastStrides, computed, stridedPositions } from "../positions.ts";
import { elementCount, type Tensor } from "../tensor.ts";
import { concatenate, transposed } from "./layout.ts";
import { matmul, matrixTransposed } from "./product.ts";
import { reshaped } from "./shape.ts";

/** [B, S, H d] as [B, H, S, d]. */
export function splitHeads(call: OperatorCall, source: Tensor, heads: number): Tensor {
  const [batch = 0, length = 0, width = 0] = source.dims;
  if (source.dims.length !== 3 || !Number.isInteger(width / heads)) {
    call.fail(`a tensor of shape ${shown(source.dims)} has no ${heads} heads`);
  }
  return transposed(call, reshaped(call, source, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** [B, H, S, d] as [B, S, H d]. */
export function mergeHeads(call: OperatorCall, source: Tensor): Tensor {
  const [batch = 0, heads = 0, length = 0, width = 0] = source.dims;
  return reshaped(call, transposed(call, source, [0, 2, 1, 3]), [batch, length, heads * width]);
}

/** Each key and value head repeated for the query heads that share it: [B, Hkv, S, d] to [B, H, S, d]. */
function repeatHeads(call: OperatorCall, source: Tensor, heads: number): Tensor {
  const [batch = 0, own = 0, length = 0, width = 0] = source.dims;
  if (own === heads) return source;
  const repeats = heads / own;
  if (!Number.isInteger(repeats)) call.fail(`${own} key heads do not divide ${heads} query heads`);
  const dims = [batch, own, repeats, length, width];
  const data = call.data(dims, source.dataType);
  const strides = broadcastStrides([batch, own, 1, length, width], dims);
  const positions = stridedPositions(dims, strides);
  for (let i = 0; i < data.length; i++) data[i] = source.data[positions[i]!]!;
  return { dims: [batch, heads, length, width], dataType: source.dataType, data };
}

/** The logits before the softmax, with what is still to be applied to them. */
export interface AttentionScores {
  /** scale * Q K', [B, H, Lq, Lk], in double precision */
  readonly logits: Tensor;
  /** Added to the logits, and broadcasts to them; null for none. A row that is all -Infinity gives zeros. */
  readonly bias: Tensor | null;
  /** If not 0, the logits become softcap * tanh(logits / softcap) before the bias. */
  readonly softcap?: number;
}

export interface AttentionStages {
  readonly capped: Tensor;
  readonly biased: Tensor;
  readonly probabilities: Tensor;
}

/** Softmax of capped and biased logits along the keys, all in double precision. */
export function attentionProbabilities(call: OperatorCall, scores: AttentionScores): AttentionStages {
  const { logits, bias, softcap = 0 } = scores;
  const { dims } = logits;
  const double = () => call.data(dims, DataType.DOUBLE);
  const [capped, biased, probabilities] = [double(), double(), double()];
  if (bias !== null && broadcastDims(call, dims, bias.dims).join() !== dims.join()) {
    call.fail(`a mask of shape ${shown(bias.dims)} does not broadcast to ${shown(dims)}`);
  }
  const biasAt = bias === null ? null : broadcastPositions(bias.dims, dims);
  const keys = dims.at(-1)!;
  call.operations(4 * logits.data.length);
  for (let start = 0; start < logits.data.length; start += keys) {
    let largest = -Infinity;
    let open = false;
    for (let i = start; i < start + keys; i++) {
      const shift = bias === null ? 0 : bias.data[biasAt === null ? i : biasAt[i]!]!;
      capped[i] = softcap > 0 ? softcap * Math.tanh(logits.data[i]! / softcap) : logits.data[i]!;
      biased[i] = capped[i]! + shift;
      open ||= shift !== -Infinity;
      largest = Math.max(largest, biased[i]!);
    }
    if (!open || largest === -Infinity) continue;
    let total = 0;
    for (let i = start; i < start + keys; i++) total += probabilities[i] = Math.exp(biased[i]! - largest);
    for (let i = start; i < start + keys; i++) probabilities[i]! /= total;
  }
  const tensor = (data: Tensor["data"]): Tensor => ({ dims, dataType: DataType.DOUBLE, data });
  return { capped: tensor(capped), biased: tensor(biased), probabilities: tensor(probabilities) };
}

/** `source` with its values rounded to another floating-point type. */
function narrowed(call: OperatorCall, source: Tensor, dataType: number): Tensor {
  const data = call.data(source.dims, dataType);
  data.set(source.data);
  return computed(source.dims, dataType, data);
}

/** A mask [..., Lq, Lk] in additive form: true is 0, false is -Infinity; missing keys at the end are masked. */
function additive(call: OperatorCall, mask: Tensor, keys: number): Tensor {
  const own = mask.dims.at(-1) ?? call.fail("its mask is a scalar");
  const width = own === 1 ? 1 : keys;
  const dims = [...mask.dims.slice(0, -1), width];
  const data = call.data(dims, DataType.DOUBLE).fill(-Infinity);
  for (let row = 0; row < elementCount(mask.dims.slice(0, -1)); row++) {
    for (let key = 0; key < Math.min(own, width); key++) {
      const value = mask.data[row * own + key]!;
      data[row * width + key] = mask.dataType !== DataType.BOOL ? value : value !== 0 ? 0 : -Infinity;
    }
  }
  return { dims, dataType: DataType.DOUBLE, data };
}

/** An additive mask [B|1, 1, Lq, Lk] of the keys that position and length hide from a query; null if none. */
function positionBias(call: OperatorCall, queries: number, keys: number, past: number): Tensor | null {
  const hidden = hiddenKeys(call, queries, keys, past);
  if (hidden === undefined) return null;
  const dims = [hidden.batch, 1, queries, keys];
  const data = call.data(dims, DataType.DOUBLE);
  for (let i = 0; i < data.length; i++) if (hidden.hides(i)) data[i] = -Infinity;
  return { dims, dataType: DataType.DOUBLE, data };
}

function summed(call: OperatorCall, a: Tensor | null, b: Tensor | null): Tensor | null {
  if (a === null || b === null) return a ?? b;
  const dims = broadcastDims(call, a.dims, b.dims);
  const data = call.data(dims, DataType.DOUBLE);
  const aAt = broadcastPositions(a.dims, dims);
  const bAt = broadcastPositions(b.dims, dims);
  for (let i = 0; i < data.length; i++) {
    data[i] = a.data[aAt === null ? i : aAt[i]!]! + b.data[bAt === null ? i : bAt[i]!]!;
  }
  return { dims, dataType: DataType.DOUBLE, data };
}

/**
 * The operator Attention of opsets 23 and later: heads in the last axis or in an axis of their own, grouped queries, a
 * past, masks, causal order counted from the end of the past, soft-capping.
 */
const attention = (call: OperatorCall): Tensor[] => {
  const merged = call.input(0).dims.length === 3;
  const heads = (index: number, name: string): Tensor => {
    const source = call.input(index);
    return merged ? splitHeads(call, source, call.int(name) ?? call.fail(`${name} is required`)) : source;
  };
  const query = heads(0, "q_num_heads");
  const withPast = (current: Tensor, past: Tensor | null) =>
    past === null ? current : concatenate(call, [past, current], 2);
  const presentKey = withPast(heads(1, "kv_num_heads"), call.optional(4));
  const presentValue = withPast(heads(2, "kv_num_heads"), call.optional(5));
  const headCount = query.dims[1]!;
  const keys = presentKey.dims[2]!;
  const scale = call.float("scale", 1 / Math.sqrt(query.dims[3]!));
  const key = matrixTransposed(call, repeatHeads(call, presentKey, headCount));
  const logits = matmul(call, query, key, DataType.DOUBLE, scale);
  const mask = call.optional(3);
  const bias = summed(
    call,
    mask === null ? null : additive(call, mask, keys),
    positionBias(call, query.dims[2]!, keys, call.optional(4)?.dims[2] ?? 0),
  );
  const stages = attentionProbabilities(call, { logits, bias, softcap: call.float("softcap", 0) });
  const { dataType } = query;
  const value = repeatHeads(call, presentValue, headCount);
  const output = matmul(call, narrowed(call, stages.probabilities, dataType), value, dataType);
  const exposed = [logits, stages.capped, stages.biased, stages.probabilities][call.int("qk_matmul_output_mode", 0)];
  if (exposed === undefined) call.fail("qk_matmul_output_mode is not in 0 to 3");
  return [
    merged ? mergeHeads(call, output) : output,
    presentKey,
    presentValue,
    ...(call.wants(3) ? [narrowed(call, exposed, dataType)] : []),
  ];
};

/** The angles of {@link rotate}, and how features pair up. */
export interface RotaryForm {
  /** [positions, r / 2], or [B, S, r / 2] if `positions` is null */
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** Position of token `s` of batch `b`, a row of the tables; null: the tables have a row for each (b, s). */
  readonly positions: ((b: number, s: number) => number) | null;
  readonly interleaved: boolean;
}

/** Rotates pairs of the first r features of [B, H, S, d] by the angle of their position (RoFormer, eq. 34). */
export function rotate(call: OperatorCall, source: Tensor, form: RotaryForm): Tensor {
  const [batch = 0, heads = 0, length = 0, width = 0] = source.dims;
  const half = form.cos.dims.at(-1) ?? 0;
  if (2 * half > width || form.sin.data.length !== form.cos.data.length) {
    call.fail(`tables of shape ${shown(form.cos.dims)} do not fit heads of ${width}`);
  }
  const rows = half === 0 ? 0 : form.cos.data.length / half;
  const tablesPerBatch = form.cos.dims.length === 3 && form.cos.dims[0] !== 1;
  const data = call.data(source.dims, source.dataType);
  data.set(source.data);
  for (let token = 0; token < batch * heads * length; token++) {
    const b = Math.floor(token / (heads * length));
    const s = token % length;
    const row = form.positions === null ? (tablesPerBatch ? b * length : 0) + s : form.positions(b, s);
    if (!(row >= 0 && row < rows)) call.fail(`position ${row} is out of bounds for ${rows} rows`);
    for (let i = 0; i < half; i++) {
      const first = token * width + (form.interleaved ? 2 * i : i);
      const second = form.interleaved ? first + 1 : first + half;
      const cos = form.cos.data[row * half + i]!;
      const sin = form.sin.data[row * half + i]!;
      data[first] = cos * source.data[first]! - sin * source.data[second]!;
      data[second] = sin * source.data[first]! + cos * source.data[second]!;
    }
  }
  return computed(source.dims, source.dataType, data);
}

/** RotaryEmbedding of opset 23: x, cos, sin, optional position_ids [B, S]. */
const rotaryEmbedding = (call: OperatorCall): Tensor[] => {
  const source = call.input(0);
  const merged = source.dims.length === 3;
  const split = merged ? splitHeads(call, source, call.int("num_heads") ?? call.fail("num_heads is required")) : source;
  const positions = call.optional(3);
  const length = split.dims[2]!;
  const rotated = rotate(call, split, {
    cos: call.input(1),
    sin: call.input(2),
    positions: positions === null ? null : (b, s) => positions.data[b * length + s]!,
    interleaved: call.int("interleaved", 0) !== 0,
  });
  return [merged ? mergeHeads(call, rotated) : rotated];
};

/** Attention and rotary positions of the standard domain. */
export const attentionOperators: OperatorTable = { Attention: attention, RotaryEmbedding: rotaryEmbedding };
