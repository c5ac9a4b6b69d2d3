import { ArgumentError, requireOptions } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { requireTensor } from "../attention-inputs.ts";

/** One shape per input. */
export function listShapes(shape: tf.Shape | tf.Shape[]): tf.Shape[] {
  return Array.isArray(shape[0]) ? (shape as tf.Shape[]) : [shape as tf.Shape];
}

/**
 * The shapes of query, value and key `[batch, length, width]`; the value defaults to the query, the key to the value.
 *
 * @throws ArgumentError for another rank or an unknown width.
 */
export function attentionShapes(inputShape: tf.Shape | tf.Shape[]): readonly [tf.Shape, tf.Shape, tf.Shape] {
  const [query, value = query, key = value] = listShapes(inputShape) as [tf.Shape, tf.Shape?, tf.Shape?];
  for (const [i, shape] of [query, value!, key!].entries()) {
    if (shape.length === 3 && shape[2] !== null) continue;
    throw new ArgumentError(`inputs[${i}]`, "a tensor [batch, length, width] of known width", `[${shape}]`);
  }
  return [query, value!, key!];
}

/** The inputs of a call of an attention layer. */
export interface AttentionCall {
  readonly query: tf.Tensor;
  readonly value: tf.Tensor;
  readonly key: tf.Tensor;
  /** Padding of the values, `[batch, keys]`. */
  readonly mask: tf.Tensor | undefined;
}

/**
 * Reads the inputs of a call: the query, or a list of query, value, key and padding mask of the values. Without a
 * fourth input it takes the mask that tfjs passes on in `kwargs`.
 *
 * @param own The names of arguments besides `mask` and `training`.
 * @throws ArgumentError if a passed mask has another shape than the values; FavorError `unknown-option`.
 */
export function attentionCall(
  inputs: tf.Tensor | tf.Tensor[],
  kwargs: Record<string, unknown>,
  own: Readonly<Record<string, true>> = {},
): AttentionCall {
  requireOptions("kwargs", kwargs, { mask: true, training: true, ...own }, "{ training: true }", {
    useCausalMask: " It is an argument of the constructor.",
  });
  const [query, value = query, key = value, given] = listTensors(inputs);
  for (const [name, x] of Object.entries({ query, value, key })) requireTensor(name, x, "[batch, length, width]");
  return { query, value, key, mask: given ?? passedMask(kwargs["mask"], query === value, value) };
}

type CallInputs = [query: tf.Tensor, value?: tf.Tensor, key?: tf.Tensor, mask?: tf.Tensor];

function listTensors(inputs: tf.Tensor | tf.Tensor[]): CallInputs {
  return (Array.isArray(inputs) ? inputs : [inputs]) as CallInputs;
}

/** The mask of the values among those that tfjs passes on: that of the first input, or a list with one per input. */
function passedMask(mask: unknown, selfAttention: boolean, value: tf.Tensor): tf.Tensor | undefined {
  const found = Array.isArray(mask)
    ? (mask as (tf.Tensor | null)[])[1]
    : selfAttention
      ? (mask as tf.Tensor)
      : undefined;
  if (!found) return undefined;
  if (!tf.util.arraysEqual(found.shape, value.shape.slice(0, 2))) {
    throw new ArgumentError("mask", `a mask [${value.shape.slice(0, 2)}] of the values`, `[${found.shape}]`);
  }
  return found;
}

/** The mask of the first input, which the output passes on. */
export function firstMask(mask: tf.Tensor | tf.Tensor[] | undefined): tf.Tensor {
  // null if there is none, as in tfjs' own layers, although their types do not say so
  return ((Array.isArray(mask) ? mask[0] : mask) ?? null) as tf.Tensor;
}
