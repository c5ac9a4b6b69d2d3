import { ArgumentError, requireOptions } from "@favor/core";
import type { OptionNames } from "@favor/core";
import type * as tf from "@tensorflow/tfjs";

type BaseLayerArgs = NonNullable<ConstructorParameters<typeof tf.layers.Layer>[0]>;

/** The arguments of every tfjs layer, and the version of a saved config. */
export interface LayerArgs extends Omit<BaseLayerArgs, "inputShape" | "batchInputShape"> {
  /** Without the batch dimension; for the first layer of a `tf.sequential`. */
  readonly inputShape?: readonly (number | null)[];
  readonly batchInputShape?: readonly (number | null)[];
  readonly configVersion?: number;
  /** What tfjs adds to a config when it loads a model; not read. */
  readonly customObjects?: object;
}

/** The arguments of a layer made of layers. */
export interface CompositeLayerArgs extends LayerArgs {
  /** In a saved config: the parts that are not trained, by their places: "1/0" is the first part of the second. */
  readonly frozenParts?: readonly string[];
}

/** The names of {@link LayerArgs}. */
export const layerArgNames: OptionNames<LayerArgs> = {
  name: true,
  trainable: true,
  dtype: true,
  weights: true,
  inputShape: true,
  batchInputShape: true,
  batchSize: true,
  inputDType: true,
  configVersion: true,
  customObjects: true,
};

/** The names of {@link CompositeLayerArgs}. */
export const compositeArgNames: OptionNames<CompositeLayerArgs> = { ...layerArgNames, frozenParts: true };

/**
 * The part of `args` that the constructor of `tf.layers.Layer` takes.
 *
 * @param names Of all arguments of the layer.
 * @throws ArgumentError without arguments, or for a config of a newer version; FavorError `unknown-option`.
 */
export function baseLayerArgs<Args extends LayerArgs>(args: Args, names: OptionNames<Args>): BaseLayerArgs {
  requireOptions("args", args, names, '{ attention: "exact" }');
  const { trainable = true, inputShape, batchInputShape, configVersion = 1 } = args;
  if (configVersion !== 1) {
    throw new ArgumentError(
      "configVersion",
      "1 (a newer @favor/tfjs wrote this model; update this package)",
      configVersion,
    );
  }
  return {
    ...args,
    trainable,
    ...(inputShape && { inputShape: [...inputShape] }),
    ...(batchInputShape && { batchInputShape: [...batchInputShape] }),
  };
}

/** The arguments of a layer that its parts take too: all but those of {@link CompositeLayerArgs}. */
export function argsOfParts<Args extends CompositeLayerArgs>(args: Args): Omit<Args, keyof CompositeLayerArgs> {
  const own = Object.entries(args).filter(([name]) => !Object.hasOwn(compositeArgNames, name));
  return Object.fromEntries(own) as Omit<Args, keyof CompositeLayerArgs>;
}

/** A layer's own arguments as plain JSON, for `getConfig`. The base layer writes the others. */
export function ownConfig<Args extends CompositeLayerArgs>(args: Args): tf.serialization.ConfigDict {
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
