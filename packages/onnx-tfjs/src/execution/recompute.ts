import * as tf from "@tensorflow/tfjs-core";
import { isDevice, type Value } from "../value.ts";
import { gradientsOf, isDeviceFloat, packed, unpacked } from "../packed.ts";
import type { Segment } from "./segments.ts";

/** Computes the values `wanted` of a segment from what it reads; variables are those given, in place of the model's. */
export type ComputeSegment = (
  wanted: readonly string[],
  reads: ReadonlyMap<string, Value>,
  variables: ReadonlyMap<string, tf.Tensor>,
) => Value[];

/**
 * Runs a segment so that a gradient tape holds only what it reads: its inner values are computed again when its gradient
 * is asked for (Chen et al. 2016, "Training deep nets with sublinear memory cost").
 *
 * @param values what is there before the segment
 * @param variables those of the initializers that the segment reads
 * @returns the values that are alive after it, and those among them that the caller has to free besides
 */
export function recomputed(
  segment: Segment,
  values: ReadonlyMap<string, Value>,
  variables: ReadonlyMap<string, tf.Variable>,
  compute: ComputeSegment,
): { readonly alive: Map<string, Value>; readonly kept: tf.Tensor[] } {
  const made = segment.alive.filter((name) => !values.has(name));
  const reads = new Map(segment.reads.flatMap((name) => (values.has(name) ? [[name, values.get(name)!]] : [])));
  const device = [...reads].flatMap(([name, value]) => (isDevice(value) ? [[name, value] as const] : []));
  const floats = device.filter(([, value]) => isDeviceFloat(value));
  // Tied initializers share a variable.
  const weights = [...new Set(variables.values())];
  const kept: tf.Tensor[] = [];
  let outputs: Value[] = [];
  const forward = tf.customGrad((...given) => {
    const save = given.pop() as tf.GradSaveFunc;
    outputs = compute(made, reads, variables);
    save(device.map(([, value]) => value));
    const value = packed(outputs);
    // Others than floats have no gradient: they leave the scope of this function as they are.
    for (const output of outputs) if (isDevice(output) && !isDeviceFloat(output)) kept.push(tf.keep(output));
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const again = new Map([...reads, ...device.map(([name], i) => [name, saved[i]!] as const)]);
        const xs = [...floats.map(([name]) => again.get(name) as tf.Tensor), ...weights];
        return gradientsOf(() => packed(compute(made, again, variables)), xs, dy);
      },
    };
  })(...floats.map(([, value]) => value), ...weights);
  const results = unpacked(forward, outputs);
  const alive = new Map(segment.alive.map((name) => [name, values.get(name) ?? results[made.indexOf(name)]!]));
  return { alive, kept };
}
