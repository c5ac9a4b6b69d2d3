import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription, OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import type { ExactKeys } from "../ops/hybrid/exact-keys.ts";
import type { AttentionKind } from "./attention-maps.ts";
import { CompositeLayer } from "./composite-layer.ts";
import { baseLayerArgs, compositeArgNames, ownConfig, requireDropout, requirePositive } from "./layer-args.ts";
import type { CompositeLayerArgs } from "./layer-args.ts";
import { MultiHeadAttention } from "./multi-head-attention.ts";

/** Arguments of {@link PerformerEncoderLayer}. */
export interface PerformerEncoderLayerArgs extends CompositeLayerArgs {
  /** Width of the input and the output; a multiple of `numHeads`. */
  readonly modelDim: number;
  readonly numHeads: number;
  /** Width of the hidden layer of the feed-forward network. */
  readonly feedForwardDim: number;
  /** "exact" (default: softmax attention), or FAVOR with a feature map description of dim modelDim / numHeads. */
  readonly attention?: AttentionKind;
  /** Keys that are exact for each query, next to FAVOR for all others; see `hybridAttention`. Default: none. */
  readonly exactKeys?: ExactKeys;
  /** Fraction of what attention and the feed-forward network add to drop in training. Default 0. */
  readonly dropout?: number;
  /** Default "gelu". */
  readonly activation?: "relu" | "gelu";
  /** Whether to normalise before each half or after it. Default: before. */
  readonly normFirst?: boolean;
  /** Epsilon of layer normalisation. Default 1e-6. */
  readonly epsilon?: number;
  /** Default false. */
  readonly useCausalMask?: boolean;
}

/** The names of {@link PerformerEncoderLayerArgs}. */
export const encoderLayerArgNames: OptionNames<PerformerEncoderLayerArgs> = {
  ...compositeArgNames,
  modelDim: true,
  numHeads: true,
  feedForwardDim: true,
  attention: true,
  exactKeys: true,
  dropout: true,
  activation: true,
  normFirst: true,
  epsilon: true,
  useCausalMask: true,
};

/**
 * One Transformer encoder layer, `[batch, length, modelDim]` to the same shape: attention and a feed-forward network,
 * each with layer normalisation and a residual. A mask of the input hides keys, and the output passes it on.
 *
 * @throws ArgumentError if a size is invalid, or a config comes from a newer version;
 * FavorError `unknown-option`.
 */
export class PerformerEncoderLayer extends CompositeLayer {
  static readonly className = "FavorPerformerEncoderLayer";
  readonly args: PerformerEncoderLayerArgs;
  readonly parts: readonly tf.layers.Layer[];
  readonly #attention: MultiHeadAttention;
  readonly #attentionNorm: tf.layers.Layer;
  readonly #forwardNorm: tf.layers.Layer;
  readonly #hidden: tf.layers.Layer;
  readonly #output: tf.layers.Layer;

  constructor(args: PerformerEncoderLayerArgs) {
    super(baseLayerArgs(args, encoderLayerArgNames));
    this.args = args;
    this.supportsMasking = true;
    const { modelDim, numHeads, feedForwardDim, dropout = 0, epsilon = 1e-6, activation = "gelu" } = args;
    requirePositive({ modelDim, numHeads, feedForwardDim });
    if (modelDim % numHeads !== 0) throw new ArgumentError("modelDim", `a multiple of ${numHeads} heads`, modelDim);
    requireDropout(dropout);
    const { attention = "exact", exactKeys, useCausalMask = false } = args;
    const keyDim = modelDim / numHeads;
    this.#attention = new MultiHeadAttention({
      name: "attention",
      numHeads,
      keyDim,
      attention,
      useCausalMask,
      ...(exactKeys && { exactKeys }),
    });
    this.#attentionNorm = tf.layers.layerNormalization({ name: "attention_norm", epsilon });
    this.#forwardNorm = tf.layers.layerNormalization({ name: "feed_forward_norm", epsilon });
    this.#hidden = tf.layers.dense({ name: "hidden", units: feedForwardDim, activation: activation as "relu" });
    this.#output = tf.layers.dense({ name: "output", units: modelDim });
    this.parts = [this.#attention, this.#attentionNorm, this.#forwardNorm, this.#hidden, this.#output];
    this.freezeParts(args.frozenParts);
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as tf.Shape;
    const { modelDim, feedForwardDim } = this.args;
    if (shape.length !== 3 || shape[2] !== modelDim) {
      throw new ArgumentError("inputs", `a tensor [batch, length, ${modelDim}]`, `[${shape}]`);
    }
    for (const part of this.parts)
      this.buildPart(part, part === this.#output ? [...shape.slice(0, 2), feedForwardDim] : shape);
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor {
    return tf.tidy(() => {
      const x = Array.isArray(inputs) ? inputs[0]! : inputs;
      const attend = (y: tf.Tensor): tf.Tensor => this.#attention.apply(y, kwargs) as tf.Tensor;
      const forward = (y: tf.Tensor): tf.Tensor => this.#output.apply(this.#hidden.apply(y)) as tf.Tensor;
      const training = kwargs["training"] === true;
      const attended = this.#residual(x, this.#attentionNorm, attend, training);
      return this.#residual(attended, this.#forwardNorm, forward, training);
    });
  }

  #residual(x: tf.Tensor, norm: tf.layers.Layer, half: (y: tf.Tensor) => tf.Tensor, training: boolean): tf.Tensor {
    const { dropout = 0, normFirst = true } = this.args;
    const added = half(normFirst ? (norm.apply(x) as tf.Tensor) : x);
    const sum = tf.add(x, training && dropout > 0 ? tf.dropout(added, dropout) : added);
    return normFirst ? sum : (norm.apply(sum) as tf.Tensor);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    return inputShape;
  }

  /** The feature maps in use, one per head, with the redraw number of the current projections; undefined for exact attention. */
  get featureMaps(): readonly FeatureMapDescription[] | undefined {
    return this.#attention.featureMaps;
  }

  override getConfig(): tf.serialization.ConfigDict {
    // including the redraws so far
    const attention = this.featureMaps ?? "exact";
    return { ...super.getConfig(), ...ownConfig({ ...this.args, attention }) };
  }
}
