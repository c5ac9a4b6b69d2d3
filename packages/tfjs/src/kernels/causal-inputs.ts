import type * as tf from "@tensorflow/tfjs-core";

/** The inputs of a kernel of causal linear attention. */
interface CausalInputs {
  /** `[groups, length, features]` */
  readonly q: tf.TensorInfo;
  /** `[groups, length, features]` */
  readonly k: tf.TensorInfo;
  /** `[groups, length, width]` */
  readonly v: tf.TensorInfo;
  /** `[groups, length]`, never falling along the rows. */
  readonly reference: tf.TensorInfo;
}

export interface CausalCall extends CausalInputs {
  readonly groups: number;
  readonly length: number;
  readonly features: number;
  readonly width: number;
  /** Whether rows see the keys from their own to the last. */
  readonly reverse: boolean;
}

/** The inputs, attributes and sizes of a call of the kernel. */
export function causalCall(inputs: tf.NamedTensorInfoMap, attrs: tf.NamedAttrMap | undefined): CausalCall {
  const { q, k, v, reference } = inputs as CausalInputs & tf.NamedTensorInfoMap;
  const [groups, length, features] = q.shape as [number, number, number];
  return { q, k, v, reference, groups, length, features, width: v.shape[2]!, reverse: attrs!["reverse"] === true };
}

/**
 * The factors from the reference of one row to that of the next, in the order in which rows are taken. They are at most
 * 1, and exactly 1 if the reference does not move. `gates` and `reference` are `[length]`.
 */
export function fillGates(gates: Float32Array, reference: Float32Array, reverse: boolean): void {
  const { length } = reference;
  gates[0] = 1;
  for (let t = 1; t < length; t++) {
    const [before, row] = reverse ? [length - t, length - 1 - t] : [t - 1, t];
    gates[t] = Math.exp(-Math.abs(reference[row]! - reference[before]!));
  }
}
