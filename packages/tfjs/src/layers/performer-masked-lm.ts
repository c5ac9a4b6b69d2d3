import { ArgumentError } from "@favor/core";
import type { OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { CompositeLayer } from "./composite-layer.ts";
import { argsOfParts, baseLayerArgs, ownConfig, requirePositive } from "./layer-args.ts";
import { PerformerEncoder, encoderArgNames } from "./performer-encoder.ts";
import type { PerformerEncoderArgs } from "./performer-encoder.ts";

/** Arguments of {@link PerformerMaskedLM}: those of its encoder, and these. See `maskedLMPresets` for sets of them. */
export interface PerformerMaskedLMArgs extends PerformerEncoderArgs {
  /** Tokens are 0 to vocabularySize - 1. */
  readonly vocabularySize: number;
  /** The most tokens in a sequence. */
  readonly maxLength: number;
  /** Whether token 0 is padding, which nothing attends to. Default true. */
  readonly maskZero?: boolean;
}

const names: OptionNames<PerformerMaskedLMArgs> = {
  ...encoderArgNames,
  vocabularySize: true,
  maxLength: true,
  maskZero: true,
};

/**
 * A masked language model, or a causal one with `useCausalMask`: learned token and position embeddings times
 * sqrt(modelDim), a {@link PerformerEncoder}, and the token embedding again as the output projection (1706.03762,
 * section 3.4), with a bias per token. Takes tokens `[batch, length]` and gives logits `[batch, length,
 * vocabularySize]`. Its loss is `maskedCrossEntropy`; {@link performerMaskedLM} wraps it in a model.
 *
 * @throws ArgumentError if a size is invalid, there are more than `maxLength` tokens, or a config comes from a newer
 * version;
 * FavorError `unknown-option`.
 */
export class PerformerMaskedLM extends CompositeLayer {
  static readonly className = "FavorPerformerMaskedLM";
  readonly args: PerformerMaskedLMArgs;
  readonly parts: readonly tf.layers.Layer[];
  readonly encoder: PerformerEncoder;
  readonly #tokens: tf.layers.Layer;
  #positions: tf.LayerVariable | undefined;
  #bias: tf.LayerVariable | undefined;

  constructor(args: PerformerMaskedLMArgs) {
    super(baseLayerArgs(args, names));
    this.args = args;
    this.supportsMasking = true;
    const { vocabularySize, maxLength, maskZero = true, modelDim } = args;
    requirePositive({ vocabularySize, maxLength });
    const { vocabularySize: _size, maxLength: _length, maskZero: _mask, ...ofEncoder } = argsOfParts(args);
    this.encoder = new PerformerEncoder({ ...ofEncoder, name: "encoder" });
    this.#tokens = tf.layers.embedding({
      name: "token_embedding",
      inputDim: vocabularySize,
      outputDim: modelDim,
      maskZero,
      embeddingsInitializer: embeddingsInitializer(modelDim),
    });
    this.parts = [this.#tokens, this.encoder];
    this.freezeParts(args.frozenParts);
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as tf.Shape;
    const { vocabularySize, maxLength, modelDim } = this.args;
    this.#requireTokens(shape);
    const initializer = embeddingsInitializer(modelDim);
    this.#positions = this.addWeight("position_embedding", [maxLength, modelDim], "float32", initializer);
    this.#bias = this.addWeight("output_bias", [vocabularySize], "float32", tf.initializers.zeros());
    this.buildPart(this.#tokens, shape);
    this.buildPart(this.encoder, [...shape, modelDim]);
    this.built = true;
  }

  #requireTokens(shape: readonly (number | null)[]): void {
    const { maxLength } = this.args;
    if (shape.length === 2 && (shape[1] ?? 0) <= maxLength) return;
    throw new ArgumentError("inputs", `tokens [batch, length], length up to maxLength ${maxLength}`, `[${shape}]`);
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor {
    return tf.tidy(() => {
      const tokens = Array.isArray(inputs) ? inputs[0]! : inputs;
      this.#requireTokens(tokens.shape);
      const { vocabularySize, modelDim } = this.args;
      const [batch, length] = tokens.shape as [number, number];
      const positions = tf.slice(this.#positions!.read(), [0, 0], [length, modelDim]);
      const embedded = tf.mul(tf.add(this.#tokens.apply(tokens) as tf.Tensor, positions), Math.sqrt(modelDim));
      const hidden = this.encoder.apply(embedded, { ...kwargs, mask: this.computeMask(tokens) }) as tf.Tensor;
      const rows = tf.reshape(hidden, [batch * length, modelDim]) as tf.Tensor2D;
      const table = tf.transpose(this.#tokens.weights[0]!.read()) as tf.Tensor2D;
      return tf.reshape(tf.add(tf.matMul(rows, table), this.#bias!.read()), [batch, length, vocabularySize]);
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const shape = (Array.isArray(inputShape[0]) ? inputShape[0] : inputShape) as tf.Shape;
    return [...shape, this.args.vocabularySize];
  }

  /** Where tokens are not padding, `[batch, length]`; null without `maskZero`. */
  override computeMask(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return this.#tokens.computeMask(inputs) as tf.Tensor;
  }

  override getConfig(): tf.serialization.ConfigDict {
    const attention = this.encoder.featureMaps ?? "exact";
    return { ...super.getConfig(), ...ownConfig({ ...this.args, attention }) };
  }
}

/** Gives unit variance to the encoder, after the factor sqrt(modelDim), and to the first logits of the tied output. */
function embeddingsInitializer(modelDim: number): ReturnType<typeof tf.initializers.randomNormal> {
  return tf.initializers.randomNormal({ mean: 0, stddev: modelDim ** -0.5 });
}

/**
 * A {@link PerformerMaskedLM} as a model, for tokens `[batch, length]` of any length up to `maxLength`. `model.save`
 * and `tf.loadLayersModel` preserve its outputs bit for bit.
 *
 * @throws ArgumentError as the layer.
 */
export function performerMaskedLM(args: PerformerMaskedLMArgs): tf.Sequential {
  return tf.sequential({ layers: [new PerformerMaskedLM({ batchInputShape: [null, null], ...args })] });
}
