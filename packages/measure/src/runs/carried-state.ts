import type { InferenceSession, Tensor } from "onnxruntime-node";

import { onnxruntime } from "./onnxruntime.ts";

const past = "favor_past.";
const present = "favor_present.";
/** The scalar input that counts the tokens fed so far. */
const pastLength = "favor_past_length";

/** The log scale before the first key; its exponential is 0. */
const emptyLogScale = -1e30;

/** The inputs of a stateful model that carry its state, by name. */
export type CarriedState = Readonly<Record<string, Tensor>>;

/** Whether an input or output is part of the state of a model that was converted with `--stateful`. */
export function carriesState(name: string): boolean {
  return name === pastLength || name.startsWith(past) || name.startsWith(present);
}

/** The state before the first token: sums of 0, log scales of -1e30, length 0. */
export function emptyState(inputs: readonly InferenceSession.ValueMetadata[], batch: number): CarriedState {
  const state: Record<string, Tensor> = {};
  for (const input of inputs) {
    if (input.name === pastLength) state[input.name] = lengthTensor(0n);
    if (!input.name.startsWith(past) || !input.isTensor) continue;
    // [batch, heads, M, valueDim + 1] or [batch, heads, 1, 1]: sizes after the batch are in the graph.
    const dims = [batch, ...input.shape.slice(1).map(Number)];
    const size = dims.reduce((product, dim) => product * dim, 1);
    const value = input.name.endsWith(".log_scale") ? emptyLogScale : 0;
    state[input.name] = new onnxruntime.Tensor("float32", new Float32Array(size).fill(value), dims);
  }
  return state;
}

/** The state after a call with `length` tokens, taken from its outputs. */
export function stateAfter(
  state: CarriedState,
  outputs: InferenceSession.OnnxValueMapType,
  length: number,
): CarriedState {
  const next = Object.entries(state).map(([name, tensor]): [string, Tensor] => {
    if (name === pastLength) return [name, lengthTensor((tensor.data as BigInt64Array)[0]! + BigInt(length))];
    return [name, outputs[present + name.slice(past.length)] as Tensor];
  });
  return Object.fromEntries(next);
}

function lengthTensor(length: bigint): Tensor {
  return new onnxruntime.Tensor("int64", BigInt64Array.of(length), []);
}
