import * as tf from "@tensorflow/tfjs";
import type { Operator } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { mergeHeads, repeatHeads, splitHeads } from "./heads.ts";

export interface CausalSums {
  /** `[groups, length, valueDim]` */
  readonly output: tf.Tensor3D;
  /** The state after the last key, `[groups, dim, valueDim]`. */
  readonly state: tf.Tensor3D;
}

/** Positions per chunk: products within a chunk cost chunk x dim for each, states dim x valueDim / chunk. */
const chunkLength = 64;

/**
 * y_t = q_t S_t with S_t = S_(t-1) + k_t v_t' (2006.16236, eq. 12, without the normaliser), in O(length): products within
 * chunks under a triangle, and the sums of the chunks before as one product with a triangle of chunks.
 *
 * @param query `[groups, length, dim]`
 * @param key `[groups, length, dim]`
 * @param value `[groups, length, valueDim]`
 * @param past S_0, `[groups, dim, valueDim]`; null for zeros
 */
export function causalSums(
  query: tf.Tensor3D,
  key: tf.Tensor3D,
  value: tf.Tensor3D,
  past: tf.Tensor3D | null,
): CausalSums {
  const [groups, length, dim] = query.shape;
  const valueDim = value.shape[2];
  const size = Math.max(1, Math.min(chunkLength, length));
  const chunks = Math.max(1, Math.ceil(length / size));
  const cut = (x: tf.Tensor3D): tf.Tensor3D => {
    const padding = chunks * size - length;
    const whole = padding === 0 ? x : padRows(x, padding);
    return tf.reshape(whole, [groups * chunks, size, x.shape[2]]);
  };
  const [q, k, v] = [cut(query), cut(key), cut(value)];
  const within = tf.matMul(tf.mul(tf.matMul(q, k, false, true), triangle(size, 0)), v) as tf.Tensor3D;
  const own = tf.reshape(tf.matMul(k, v, true, false), [groups, chunks, dim * valueDim]);
  const before = sumsBefore(own as tf.Tensor3D, past, [groups, dim, valueDim]);
  const earlier = before === null ? null : tf.matMul(q, tf.reshape(before, [groups * chunks, dim, valueDim]));
  const joined = tf.reshape(earlier === null ? within : tf.add(within, earlier), [groups, chunks * size, valueDim]);
  const total = tf.reshape(tf.sum(own, 1), [groups, dim, valueDim]);
  return {
    output: tf.slice(joined, [0, 0, 0], [groups, length, valueDim]) as tf.Tensor3D,
    state: (past === null ? total : tf.add(total, past)) as tf.Tensor3D,
  };
}

/** The state before each chunk, `[groups, chunks, dim valueDim]`; null where all are zero. */
function sumsBefore(own: tf.Tensor3D, past: tf.Tensor3D | null, dims: [number, number, number]): tf.Tensor | null {
  const [groups, dim, valueDim] = dims;
  const chunks = own.shape[1];
  const start = past === null ? null : tf.reshape(past, [groups, 1, dim * valueDim]);
  if (chunks === 1) return start;
  // One product for all groups: those of broadcast batches have no gradient.
  const columns = tf.reshape(tf.transpose(own, [1, 0, 2]), [chunks, groups * dim * valueDim]);
  const summed = tf.reshape(tf.matMul(triangle(chunks, -1), columns), [chunks, groups, dim * valueDim]);
  const before = tf.transpose(summed, [1, 0, 2]);
  return start === null ? before : tf.add(before, start);
}

function padRows(x: tf.Tensor3D, count: number): tf.Tensor3D {
  return tf.pad(x, [
    [0, 0],
    [0, count],
    [0, 0],
  ]);
}

/** 1 where column <= row + offset, else 0: `[size, size]`. */
function triangle(size: number, offset: number): tf.Tensor2D {
  const values = new Float32Array(size * size);
  for (let row = 0; row < size; row++) values.fill(1, row * size, row * size + Math.max(0, row + offset + 1));
  return tf.tensor2d(values, [size, size]);
}

/**
 * LinearAttention, of onnxruntime and of opset 27: query, key and value `[batch, length, heads width]`, the state
 * `[batch, key heads, dim, valueDim]` before; only the rule "linear", S_t = S_(t-1) + k_t v_t'. The default scale is
 * dim^(-1/2).
 */
export const linearAttention: Operator = (call): Value[] => {
  const rule = call.string("update_rule", "gated_delta");
  if (rule !== "linear" || call.has(4) || call.has(5)) {
    throw call.unsupported(`update rule ${rule}${call.has(4) ? " with decay" : ""} does not run, only "linear"`);
  }
  const heads = call.int("q_num_heads") ?? call.fail("q_num_heads is required");
  const keyHeads = call.int("kv_num_heads") ?? call.fail("kv_num_heads is required");
  const query = splitHeads(call, call.device(0), heads);
  const [key, value] = [1, 2].map((index) => splitHeads(call, call.device(index), keyHeads)) as [
    tf.Tensor4D,
    tf.Tensor4D,
  ];
  const past = call.optionalDevice(3) as tf.Tensor4D | null;
  const [batch, , length, dim] = query.shape;
  const valueDim = value.shape[3];
  const scale = call.float("scale", 0) || 1 / Math.sqrt(dim);
  const groups = (x: tf.Tensor4D): tf.Tensor3D => {
    const all = repeatHeads(call, x, heads);
    return tf.reshape(all, [batch * heads, all.shape[2], all.shape[3]]);
  };
  const { output, state } = causalSums(
    groups(scale === 1 ? query : tf.mul(query, scale)),
    groups(key),
    groups(value),
    past === null ? null : groups(past),
  );
  const perHead = tf.reshape(state, [batch, keyHeads, heads / keyHeads, dim * valueDim]);
  const present = tf.slice(perHead, [0, 0, 0, 0], [batch, keyHeads, 1, dim * valueDim]);
  return [
    mergeHeads(tf.reshape(output, [batch, heads, length, valueDim])),
    tf.reshape(present, [batch, keyHeads, dim, valueDim]),
  ];
};
