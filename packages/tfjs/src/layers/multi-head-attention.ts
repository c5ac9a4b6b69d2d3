import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription, OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { exactAttention } from "../ops/exact-attention.ts";
import type { ExactKeys } from "../ops/hybrid/exact-keys.ts";
import { attentionCall, attentionShapes, firstMask, listShapes } from "./attention-call.ts";
import { isExact, linearAttentionOf, mapsOfHeads, requireLayerExactKeys } from "./attention-maps.ts";
import type { AttentionKind } from "./attention-maps.ts";
import { baseLayerArgs, layerArgNames, ownConfig, requireDropout, requirePositive } from "./layer-args.ts";
import type { LayerArgs } from "./layer-args.ts";
import { ProjectionWeight } from "./projection-weight.ts";
import { findInitializer, findRegularizer, objectConfig } from "./registered-object.ts";
import type { Initializer, InitializerArgument, Regularizer, RegularizerArgument } from "./registered-object.ts";

/** Arguments of {@link MultiHeadAttention}, named as in Keras. */
export interface MultiHeadAttentionArgs extends LayerArgs {
  readonly numHeads: number;
  /** Width of a query or key of one head. */
  readonly keyDim: number;
  /** Width of a value of one head. Default `keyDim`. */
  readonly valueDim?: number;
  /**
   * "exact" (default: softmax attention), or FAVOR with a feature map description of dim `keyDim`: one for all heads, or one per head.
   */
  readonly attention?: AttentionKind;
  /** Keys that are exact for each query, next to FAVOR for all others; see `hybridAttention`. Default: none. */
  readonly exactKeys?: ExactKeys;
  /** Fraction of attention weights to drop in training; exact attention only. Default 0. */
  readonly dropout?: number;
  /** Default true. */
  readonly useBias?: boolean;
  /** Width of the output. Default: that of the query. */
  readonly outputDim?: number;
  /** Query i sees the keys 0..i. Default false. A constructor argument, because tfjs drops call arguments in models. */
  readonly useCausalMask?: boolean;
  /** Also outputs the attention weights `[batch, heads, queries, keys]`; exact attention only. Default false. */
  readonly returnAttentionScores?: boolean;
  /** Default "glorotUniform". */
  readonly kernelInitializer?: InitializerArgument;
  /** Default "zeros". */
  readonly biasInitializer?: InitializerArgument;
  /** Regularizer of every kernel, which `model.fit` adds to the loss. Default none. */
  readonly kernelRegularizer?: RegularizerArgument;
  /** Regularizer of every bias. Default none. */
  readonly biasRegularizer?: RegularizerArgument;
}

const names: OptionNames<MultiHeadAttentionArgs> = {
  ...layerArgNames,
  numHeads: true,
  keyDim: true,
  valueDim: true,
  attention: true,
  exactKeys: true,
  dropout: true,
  useBias: true,
  outputDim: true,
  useCausalMask: true,
  returnAttentionScores: true,
  kernelInitializer: true,
  biasInitializer: true,
  kernelRegularizer: true,
  biasRegularizer: true,
};

/**
 * Multi-head attention with the weights, shapes and masks of Keras' layer, exact or by FAVOR.
 *
 * Inputs: the query `[batch, queries, width]`, or a list of query, value, key (default: the value) and padding mask of
 * the values `[batch, keys]`. Output: `[batch, queries, outputDim]`. In self-attention, the mask that tfjs passes on
 * from `Embedding({maskZero: true})` or `Masking` hides keys. tfjs passes on only the mask of the first input, so for
 * other values give the fourth input. Called directly, `apply(inputs, { attentionMask })` takes a mask `[batch,
 * queries, keys]`, with exact attention only. Outputs at masked queries have no meaning.
 *
 * Weights, in Keras' order: query, key and value each have a kernel `[width, heads, dim]` and a bias `[heads, dim]`;
 * then come the output kernel `[heads, valueDim, outputDim]` and its bias. FAVOR adds the projection `[heads, count,
 * keyDim]`, which is never trained.
 *
 * @throws ArgumentError, naming the argument, if FAVOR gets arguments for exact attention only, a size is invalid, or a config
 * comes from a newer version;
 * FavorError `unknown-option`.
 */
export class MultiHeadAttention extends tf.layers.Layer {
  static readonly className = "FavorMultiHeadAttention";
  readonly args: MultiHeadAttentionArgs;
  readonly #kernelInitializer: Initializer;
  readonly #biasInitializer: Initializer;
  readonly #kernelRegularizer: Regularizer | undefined;
  readonly #biasRegularizer: Regularizer | undefined;
  /** Undefined for exact attention. */
  readonly #projection: ProjectionWeight | undefined;
  readonly #kernels: Record<string, tf.LayerVariable> = {};

  constructor(args: MultiHeadAttentionArgs) {
    super(baseLayerArgs(args, names));
    this.args = args;
    this.supportsMasking = true;
    const { numHeads, keyDim, valueDim = 1, outputDim = 1 } = args;
    requirePositive({ numHeads, keyDim, valueDim, outputDim });
    const { attention = "exact", dropout = 0, returnAttentionScores = false } = args;
    requireDropout(dropout);
    requireLayerExactKeys(args.exactKeys, attention);
    if (!isExact(attention)) {
      const only = "(only exact attention has weights)";
      if (dropout > 0) throw new ArgumentError("dropout", `0 with FAVOR ${only}`, dropout);
      if (returnAttentionScores) throw new ArgumentError("returnAttentionScores", `false with FAVOR ${only}`, true);
      this.#projection = new ProjectionWeight(mapsOfHeads(attention, numHeads, keyDim));
    }
    this.#kernelInitializer = findInitializer("kernelInitializer", args.kernelInitializer ?? "glorotUniform");
    this.#biasInitializer = findInitializer("biasInitializer", args.biasInitializer ?? "zeros");
    this.#kernelRegularizer = findRegularizer("kernelRegularizer", args.kernelRegularizer);
    this.#biasRegularizer = findRegularizer("biasRegularizer", args.biasRegularizer);
  }

  /** The feature maps in use, one per head, with the redraw number of the current projections; undefined for exact attention. */
  get featureMaps(): readonly FeatureMapDescription[] | undefined {
    return this.#projection?.maps;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [query, value, key] = attentionShapes(inputShape);
    const { numHeads, keyDim, valueDim = keyDim, outputDim = query[2]! } = this.args;
    this.#addKernel("query", [query[2]!, numHeads, keyDim], [numHeads, keyDim]);
    this.#addKernel("key", [key[2]!, numHeads, keyDim], [numHeads, keyDim]);
    this.#addKernel("value", [value[2]!, numHeads, valueDim], [numHeads, valueDim]);
    this.#addKernel("attention_output", [numHeads, valueDim, outputDim], [outputDim]);
    const zeros = tf.initializers.zeros();
    this.#projection?.build((shape) => this.addWeight("projection", shape, "float32", zeros, undefined, false));
    this.built = true;
  }

  #addKernel(name: string, kernel: number[], bias: number[]): void {
    const add = (part: string, shape: number[], initializer: Initializer, regularizer?: Regularizer): void => {
      this.#kernels[`${name}/${part}`] = this.addWeight(`${name}/${part}`, shape, "float32", initializer, regularizer);
    };
    add("kernel", kernel, this.#kernelInitializer, this.#kernelRegularizer);
    if (this.args.useBias ?? true) add("bias", bias, this.#biasInitializer, this.#biasRegularizer);
  }

  /**
   * Redraws the projections: each becomes the next of its description's sequence (`epoch` + 1). Nothing else ever
   * redraws. A layer without random projections does not change.
   */
  redraw(): void {
    this.#projection?.redraw();
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor | tf.Tensor[] {
    return tf.tidy(() => {
      const { query, key, value, mask } = attentionCall(inputs, kwargs, { attentionMask: true });
      const attentionMask = kwargs["attentionMask"] as tf.Tensor | undefined;
      const heads = [this.#split(query, "query"), this.#split(key, "key"), this.#split(value, "value")] as const;
      if (this.#projection) {
        if (attentionMask) {
          const expected = "none with FAVOR, which cannot honour a mask per query (useCausalMask, or exact attention)";
          throw new ArgumentError("attentionMask", expected, `[${attentionMask.shape}]`);
        }
        const { useCausalMask: causal, exactKeys } = this.args;
        const options = { mask, causal, exactKeys, projection: this.#projection.read() };
        return this.#join(linearAttentionOf(...heads, { featureMap: this.#projection.maps, ...options }));
      }
      return this.#exact(heads, mask, attentionMask, kwargs["training"] === true);
    });
  }

  #exact(
    heads: readonly [tf.Tensor, tf.Tensor, tf.Tensor],
    padding: tf.Tensor | undefined,
    attentionMask: tf.Tensor | undefined,
    training: boolean,
  ): tf.Tensor | tf.Tensor[] {
    const { dropout = 0, useCausalMask: causal, returnAttentionScores = false } = this.args;
    let scores: tf.Tensor | undefined;
    const onWeights = (weights: tf.Tensor4D): tf.Tensor4D => {
      scores = training && dropout > 0 ? tf.dropout(weights, dropout) : weights;
      return (returnAttentionScores ? tf.keep(scores) : scores) as tf.Tensor4D;
    };
    const mask = joinMasks(padding, attentionMask);
    const output = this.#join(exactAttention(...heads, { mask, causal, onWeights }));
    if (!returnAttentionScores) return output;
    // kept beyond the attention's own tidy; this one owns it
    const owned = tf.clone(scores!);
    scores!.dispose();
    return [output, owned];
  }

  /** x `[batch, length, width]` through a kernel: `[batch, heads, length, dim]`. */
  #split(x: tf.Tensor, name: string): tf.Tensor {
    const kernel = this.#kernels[`${name}/kernel`]!.read();
    const [width, heads, dim] = kernel.shape as [number, number, number];
    const [batch, length] = x.shape as [number, number, number];
    const rows = tf.reshape(x, [batch * length, width]);
    let out: tf.Tensor = tf.matMul(rows as tf.Tensor2D, tf.reshape(kernel, [width, heads * dim]) as tf.Tensor2D);
    const bias = this.#kernels[`${name}/bias`]?.read();
    if (bias) out = tf.add(out, tf.reshape(bias, [heads * dim]));
    return tf.transpose(tf.reshape(out, [batch, length, heads, dim]), [0, 2, 1, 3]);
  }

  /** x `[batch, heads, length, dim]` through the output kernel: `[batch, length, outputDim]`. */
  #join(x: tf.Tensor): tf.Tensor {
    const kernel = this.#kernels["attention_output/kernel"]!.read();
    const [heads, dim, width] = kernel.shape as [number, number, number];
    const [batch, , length] = x.shape as [number, number, number];
    const rows = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch * length, heads * dim]);
    let out: tf.Tensor = tf.matMul(rows as tf.Tensor2D, tf.reshape(kernel, [heads * dim, width]) as tf.Tensor2D);
    const bias = this.#kernels["attention_output/bias"]?.read();
    if (bias) out = tf.add(out, bias);
    return tf.reshape(out, [batch, length, width]);
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape | tf.Shape[] {
    const [query, value = query] = listShapes(inputShape) as [tf.Shape, tf.Shape?];
    const output = [query[0]!, query[1]!, this.args.outputDim ?? query[2]!];
    if (!this.args.returnAttentionScores) return output;
    return [output, [query[0]!, this.args.numHeads, query[1]!, value![1]!]];
  }

  /** The output passes on the mask of the query. */
  override computeMask(_inputs: tf.Tensor | tf.Tensor[], mask?: tf.Tensor | tf.Tensor[]): tf.Tensor | tf.Tensor[] {
    const first = firstMask(mask);
    return (this.args.returnAttentionScores ? [first, null] : first) as tf.Tensor;
  }

  override getConfig(): tf.serialization.ConfigDict {
    const config = {
      ...this.args,
      attention: this.featureMaps ?? "exact",
      kernelInitializer: objectConfig(this.#kernelInitializer),
      biasInitializer: objectConfig(this.#biasInitializer),
      ...(this.#kernelRegularizer && { kernelRegularizer: objectConfig(this.#kernelRegularizer) }),
      ...(this.#biasRegularizer && { biasRegularizer: objectConfig(this.#biasRegularizer) }),
    };
    return { ...super.getConfig(), ...ownConfig(config) };
  }
}

/** Combines padding `[batch, keys]` with a mask per query `[batch, queries, keys]`: both must show a key. */
function joinMasks(padding: tf.Tensor | undefined, perQuery: tf.Tensor | undefined): tf.Tensor | undefined {
  if (!padding || !perQuery) return padding ?? perQuery;
  return tf.mul(tf.expandDims(tf.cast(padding, "float32"), 1), tf.cast(perQuery, "float32"));
}
