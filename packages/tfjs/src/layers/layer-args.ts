import { ArgumentError } from "@favor/core";
import type * as tf from "@tensorflow/tfjs";

/** What every layer of tfjs takes, and the version of a saved config. */
export interface LayerArgs {
  readonly name?: string;
  readonly trainable?: boolean;
  /** Without the batch; for the first layer of a `tf.sequential`. */
  readonly inputShape?: readonly (number | null)[];
  readonly batchInputShape?: readonly (number | null)[];
  readonly configVersion?: number;
}

/** The part of `args` for the constructor of `tf.layers.Layer`. Throws ArgumentError for none, and a config of a newer version. */
export function baseLayerArgs(args: LayerArgs): ConstructorParameters<typeof tf.layers.Layer>[0] {
  const given: unknown = args;
  if (typeof given !== "object" || given === null)
    throw new ArgumentError("args", "an object with its arguments", given);
  const { name, trainable = true, inputShape, batchInputShape, configVersion = 1 } = args;
  if (configVersion !== 1) {
    throw new ArgumentError(
      "configVersion",
      "1 (a newer @favor/tfjs wrote this model: update this one)",
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

/** A layer's own arguments as plain JSON, for `getConfig`; those of {@link LayerArgs} are the base layer's to write. */
export function ownConfig<Args extends LayerArgs>(args: Args): tf.serialization.ConfigDict {
  const { name: _name, trainable: _trainable, inputShape: _input, batchInputShape: _batch, ...own } = args;
  return JSON.parse(JSON.stringify({ ...own, configVersion: 1 })) as tf.serialization.ConfigDict;
}

/** Throws ArgumentError, by its name, for a size that is not an integer of at least 1. */
export function requirePositive(sizes: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(sizes)) {
    if (!Number.isInteger(value) || value < 1) throw new ArgumentError(name, "an integer of at least 1", value);
  }
}

/** Throws ArgumentError unless `dropout` is a fraction that leaves something. */
export function requireDropout(dropout: number): void {
  if (!(dropout >= 0 && dropout < 1)) throw new ArgumentError("dropout", "a number from 0 to below 1", dropout);
}
