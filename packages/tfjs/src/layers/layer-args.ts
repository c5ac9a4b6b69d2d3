import { ArgumentError } from "@favor/core";
import type * as tf from "@tensorflow/tfjs";

/** The arguments of every tfjs layer, and the version of a saved config. */
export interface LayerArgs {
  readonly name?: string;
  readonly trainable?: boolean;
  /** Without the batch dimension; for the first layer of a `tf.sequential`. */
  readonly inputShape?: readonly (number | null)[];
  readonly batchInputShape?: readonly (number | null)[];
  readonly configVersion?: number;
  /** In a saved config: the parts that are not trained, by their places: "1/0" is the first part of the second. */
  readonly frozenParts?: readonly string[];
}

/**
 * The part of `args` that the constructor of `tf.layers.Layer` takes.
 *
 * @throws ArgumentError without arguments, or for a config of a newer version.
 */
export function baseLayerArgs(args: LayerArgs): ConstructorParameters<typeof tf.layers.Layer>[0] {
  const given: unknown = args;
  if (typeof given !== "object" || given === null)
    throw new ArgumentError("args", "an object with its arguments", given);
  const { name, trainable = true, inputShape, batchInputShape, configVersion = 1 } = args;
  if (configVersion !== 1) {
    throw new ArgumentError(
      "configVersion",
      "1 (a newer @favor/tfjs wrote this model; update this package)",
      configVersion,
    );
  }
  return {
    trainable,
    ...(name !== undefined && { name }),
    ...(inputShape && { inputShape: [...inputShape] }),
    ...(batchInputShape && { batchInputShape: [...batchInputShape] }),
  };
}

/** The arguments of a layer that its parts take too: all but those of {@link LayerArgs}. */
export function argsOfParts<Args extends LayerArgs>(args: Args): Omit<Args, keyof LayerArgs> {
  const {
    name: _1,
    trainable: _2,
    inputShape: _3,
    batchInputShape: _4,
    configVersion: _5,
    frozenParts: _6,
    ...own
  } = args;
  return own;
}

/** A layer's own arguments as plain JSON, for `getConfig`. The base layer writes those of {@link LayerArgs}. */
export function ownConfig<Args extends LayerArgs>(args: Args): tf.serialization.ConfigDict {
  return JSON.parse(JSON.stringify({ ...argsOfParts(args), configVersion: 1 })) as tf.serialization.ConfigDict;
}

/** @throws ArgumentError, naming the size, if it is not an integer of at least 1. */
export function requirePositive(sizes: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1) throw new ArgumentError(name, "an integer of at least 1", value);
  }
}

/** @throws ArgumentError unless `dropout` is at least 0 and below 1. */
export function requireDropout(dropout: number): void {
  if (!(dropout >= 0 && dropout < 1)) throw new ArgumentError("dropout", "a number from 0 to below 1", dropout);
}
