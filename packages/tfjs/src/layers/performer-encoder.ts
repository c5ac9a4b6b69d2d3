import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription, OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { attentionOfLayer } from "./attention-maps.ts";
import { CompositeLayer } from "./composite-layer.ts";
import { argsOfParts, baseLayerArgs, ownConfig, requirePositive } from "./layer-args.ts";
import { PerformerEncoderLayer, encoderLayerArgNames } from "./performer-encoder-layer.ts";
import type { PerformerEncoderLayerArgs } from "./performer-encoder-layer.ts";

/** Arguments of {@link PerformerEncoder}: those of its layers, and these. */
export interface PerformerEncoderArgs extends PerformerEncoderLayerArgs {
  readonly numLayers: number;
  /** Layer normalisation after the last layer. Default: the value of `normFirst`. */
  readonly finalNorm?: boolean;
}

/** The names of {@link PerformerEncoderArgs}. */
export const encoderArgNames: OptionNames<PerformerEncoderArgs> = {
  ...encoderLayerArgNames,
  numLayers: true,
  finalNorm: true,
};

/**
 * A stack of {@link PerformerEncoderLayer}, `[batch, length, modelDim]` to the same shape. With a random feature map,
 * every layer and head draws its own projection: `layer` and `head` of its description count up. A mask of the input
 * hides keys in every layer, and the output passes it on.
 *
 * @throws ArgumentError if a size is invalid, or a config comes from a newer version;
 * FavorError `unknown-option`.
 */
export class PerformerEncoder extends CompositeLayer {
  static readonly className = "FavorPerformerEncoder";
  readonly args: PerformerEncoderArgs;
  readonly layers: readonly PerformerEncoderLayer[];
  readonly parts: readonly tf.layers.Layer[];

  constructor(args: PerformerEncoderArgs) {
    super(baseLayerArgs(args, encoderArgNames));
    this.args = args;
    this.supportsMasking = true;
    const { numLayers, attention = "exact", normFirst = true, finalNorm = normFirst, epsilon = 1e-6 } = args;
    requirePositive({ numLayers });
    const { numLayers: _count, finalNorm: _norm, ...ofLayer } = argsOfParts(args);
    this.layers = Array.from({ length: numLayers }, (_, i) => {
      return new PerformerEncoderLayer({ ...ofLayer, name: `layer_${i}`, attention: attentionOfLayer(attention, i) });
    });
    this.parts = finalNorm
      ? [...this.layers, tf.layers.layerNormalization({ name: "final_norm", epsilon })]
      : this.layers;
    this.freezeParts(args.frozenParts);
  }

  /** The feature maps of the first layer, with the redraw number of the current projections; undefined for exact attention. */
  get featureMaps(): readonly FeatureMapDescription[] | undefined {
    return this.layers[0]!.featureMaps;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as tf.Shape;
    const { modelDim } = this.args;
    if (shape.length !== 3 || shape[2] !== modelDim) {
      throw new ArgumentError("inputs", `a tensor [batch, length, ${modelDim}]`, `[${shape}]`);
    }
    for (const part of this.parts) this.buildPart(part, shape);
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0]! : inputs;
      return this.parts.reduce((y, part) => part.apply(y, kwargs) as tf.Tensor, x);
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return inputShape;
  }

  override getConfig(): tf.serialization.ConfigDict {
    // all layers count up from the maps of the first, including the redraws so far
    return { ...super.getConfig(), ...ownConfig({ ...this.args, attention: this.featureMaps ?? "exact" }) };
  }
}
