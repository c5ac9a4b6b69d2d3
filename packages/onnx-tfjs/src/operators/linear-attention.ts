import { causalLinearAttention } from "@favor/tfjs/operations";
import * as tf from "@tensorflow/tfjs-core";
import type { Operator } from "../operator-call.ts";
import type { Value } from "../value.ts";
import { definedProduct } from "./defined-product.ts";
import { mergeHeads, repeatHeads, splitHeads } from "./heads.ts";

interface CausalSums {
  /** `[groups, length, valueDim]` */
  readonly output: tf.Tensor;
  /** The state after the last key, `[groups, dim, valueDim]`. */
  readonly state: tf.Tensor;
}

/**
 * y_t = q_t S_t with S_t = S_(t-1) + k_t v_t' (2006.16236, eq. 12, without the normaliser) for query and key `[groups,
 * length, dim]`, value `[groups, length, valueDim]` and S_0 `[groups, dim, valueDim]`, null for zeros; in O(length).
 */
function causalSums(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, past: tf.Tensor | null): CausalSums {
  const output = causalLinearAttention(query, key, value);
  const state = definedProduct(key, value, true, false);
  if (past === null) return { output, state };
  return { output: tf.add(output, definedProduct(query, past)), state: tf.add(state, past) };
}

/**
 * LinearAttention, of onnxruntime and of opset 27: query, key and value `[batch, length, heads width]`, the state
 * `[batch, key heads, dim, valueDim]` before; only the rule "linear", S_t = S_(t-1) + k_t v_t'. The default scale is
 * dim^(-1/2).
 */
export const linearAttention: Operator = (call): Value[] => {
  const rule = call.string("update_rule", "gated_delta");
  if (rule !== "linear" || call.has(4) || call.has(5)) {
    throw call.unsupported(`update rule "${rule}"${call.has(4) ? " with decay" : ""} does not run, only "linear"`);
  }
  const heads = call.int("q_num_heads") ?? call.fail("q_num_heads is required");
  const keyHeads = call.int("kv_num_heads") ?? call.fail("kv_num_heads is required");
  const query = splitHeads(call, call.device(0), heads);
  const [batch, , length, dim] = query.shape;
  const key = splitHeads(call, call.device(1), keyHeads);
  const value = splitHeads(call, call.device(2), keyHeads);
  const valueDim = value.shape[3];
  const past = call.optionalDevice(3) as tf.Tensor4D | null;
  const scale = call.float("scale", 0) || 1 / Math.sqrt(dim);
  const groups = (x: tf.Tensor4D): tf.Tensor => {
    const all = repeatHeads(call, x, heads);
    return tf.reshape(all, [batch * heads, all.shape[2], all.shape[3]]);
  };
  const { output, state } = causalSums(
    groups(scale === 1 ? query : tf.mul(query, scale)),
    groups(key),
    groups(value),
    past === null ? null : groups(past),
  );
  // Query heads that share a key head have the same state.
  const perHead = tf.reshape(state, [batch * keyHeads, heads / keyHeads, dim * valueDim]);
  const present = tf.slice(perHead, [0, 0, 0], [batch * keyHeads, 1, dim * valueDim]);
  return [
    mergeHeads(tf.reshape(output, [batch, heads, length, valueDim])),
    tf.reshape(present, [batch, keyHeads, dim, valueDim]),
  ];
};
