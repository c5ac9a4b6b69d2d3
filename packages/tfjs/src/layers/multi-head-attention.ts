import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { drawProjections } from "../ops/feature-parameters.ts";
import { favorAttention } from "../ops/favor-attention.ts";
import { softmaxAttention } from "../ops/softmax-attention.ts";
import { mapsOfHeads, redrawn } from "./attention-maps.ts";
import type { AttentionKind } from "./attention-maps.ts";
import { findInitializer, initializerConfig } from "./initializer.ts";
import type { InitializerArgument } from "./initializer.ts";
import { baseLayerArgs, ownConfig } from "./layer-args.ts";
import type { LayerArgs } from "./layer-args.ts";

/** Arguments of {@link MultiHeadAttention}, named as in Keras. */
export interface MultiHeadAttentionArgs extends LayerArgs {
  readonly numHeads: number;
  /** Width of a query and a key of one head. */
  readonly keyDim: number;
  /** Width of a value of one head. Default `keyDim`. */
  readonly valueDim?: number;
  /** "softmax" (default), or FAVOR by a feature map description of dim `keyDim`, one or one per head. */
  readonly attention?: AttentionKind;
  /** Fraction of attention weights dropped in training; softmax only. Default 0. */
  readonly dropout?: number;
  /** Default true. */
  readonly useBias?: boolean;
  /** Width of the output. Default: that of the query. */
  readonly outputDim?: number;
  /** Query i sees keys 0 to i. Default false. A constructor argument, for tfjs drops call arguments in models. */
  readonly useCausalMask?: boolean;
  /** Outputs the attention weights `[batch, heads, queries, keys]` as well; softmax only. Default false. */
  readonly returnAttentionScores?: boolean;
  /** Default "glorotUniform". */
  readonly kernelInitializer?: InitializerArgument;
  /** Default "zeros". */
  readonly biasInitializer?: InitializerArgument;
}

/**
 * Multi-head attention with the weights, shapes and masks of Keras', and FAVOR as one of its kinds.
 *
 * Inputs: query `[batch, queries, width]`, or a list query, value, key (default: the value), padding mask of the values
 * `[batch, keys]`. Output `[batch, queries, outputDim]`. For self-attention the mask that tfjs passes on from
 * `Embedding({maskZero: true})` or `Masking` hides keys; tfjs passes on only the first input's, so for other values give
 * the fourth input. Called directly, `apply(inputs, { attentionMask })` takes a mask `[batch, queries, keys]`, softmax
 * only. Outputs at masked queries have no meaning.
 *
 * Weights, in Keras' order: query, key, value kernel `[width, heads, dim]` and bias `[heads, dim]` each, output kernel
 * `[heads, valueDim, outputDim]` and bias; with FAVOR the projection `[heads, count, keyDim]`, never trained.
 *
 * @throws ArgumentError, naming the argument, where softmax-only arguments meet FAVOR, for sizes that cannot be right
 * and for a config of a newer version.
 */
export class MultiHeadAttention extends tf.layers.Layer {
  static readonly className = "FavorMultiHeadAttention";
  readonly args: MultiHeadAttentionArgs;
  readonly #kernelInitializer: ReturnType<typeof findInitializer>;
  readonly #biasInitializer: ReturnType<typeof findInitializer>;
  /** Per head; of softmax none. A redraw replaces them. */
  #maps: readonly FeatureMapDescription[] | undefined;
  #projection: tf.LayerVariable | undefined;
  #kernels: Record<string, tf.LayerVariable> = {};

  constructor(args: MultiHeadAttentionArgs) {
    super(baseLayerArgs(args));
    this.args = args;
    this.supportsMasking = true;
    for (const name of ["numHeads", "keyDim", "valueDim", "outputDim"] as const) {
      const value = args[name] ?? 1;
      if (!Number.isInteger(value) || value < 1) throw new ArgumentError(name, "an integer of at least 1", value);
    }
    const { attention = "softmax", dropout = 0, returnAttentionScores = false } = args;
    if (!(dropout >= 0 && dropout < 1)) throw new ArgumentError("dropout", "a number from 0 to below 1", dropout);
    if (attention !== "softmax") {
      const only = "(only softmax has attention weights)";
      if (dropout > 0) throw new ArgumentError("dropout", `0 with FAVOR ${only}`, dropout);
      if (returnAttentionScores) throw new ArgumentError("returnAttentionScores", `false with FAVOR ${only}`, true);
      this.#maps = mapsOfHeads(attention, args.numHeads, args.keyDim);
    }
    this.#kernelInitializer = findInitializer("kernelInitializer", args.kernelInitializer ?? "glorotUniform");
    this.#biasInitializer = findInitializer("biasInitializer", args.biasInitializer ?? "zeros");
  }

  /** The feature maps in use, one per head, with the redraw number of the current projections; undefined for softmax. */
  get featureMaps(): readonly FeatureMapDescription[] | undefined {
    return this.#maps;
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shapes = listShapes(inputShape);
    const [query, value = query, key = value] = shapes as [tf.Shape, tf.Shape?, tf.Shape?];
    for (const [i, shape] of [query, value!, key!].entries()) {
      if (shape.length === 3 && shape[2] !== null) continue;
      throw new ArgumentError(`inputs[${i}]`, "a tensor [batch, length, width] of known width", `[${shape}]`);
    }
    const { numHeads, keyDim, valueDim = keyDim, outputDim = query[2]! } = this.args;
    this.#addKernel("query", [query[2]!, numHeads, keyDim], [numHeads, keyDim]);
    this.#addKernel("key", [key![2]!, numHeads, keyDim], [numHeads, keyDim]);
    this.#addKernel("value", [value![2]!, numHeads, valueDim], [numHeads, valueDim]);
    this.#addKernel("attention_output", [numHeads, valueDim, outputDim], [outputDim]);
    const [first] = this.#maps ?? [];
    if (first && "projection" in first) {
      const { count, dim } = first.projection;
      const zeros = tf.initializers.zeros();
      this.#projection = this.addWeight("projection", [numHeads, count, dim], "float32", zeros, undefined, false);
      this.#draw();
    }
    this.built = true;
  }

  #addKernel(name: string, kernel: number[], bias: number[]): void {
    const add = (part: string, shape: number[], initializer: ReturnType<typeof findInitializer>): void => {
      this.#kernels[`${name}/${part}`] = this.addWeight(`${name}/${part}`, shape, "float32", initializer);
    };
    add("kernel", kernel, this.#kernelInitializer);
    if (this.args.useBias ?? true) add("bias", bias, this.#biasInitializer);
  }

  #draw(): void {
    tf.tidy(() => void this.#projection?.write(drawProjections(this.#maps!)));
  }

  /**
   * Draws the projections anew, each the next of its description's sequence (`epoch` + 1). Nothing else ever redraws.
   * A layer without random projections stays as it is.
   */
  redraw(): void {
    if (!this.#projection || !this.#maps) return;
    this.#maps = redrawn(this.#maps);
    this.#draw();
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor | tf.Tensor[] {
    return tf.tidy(() => {
      const [query, value = query, key = value, given] = Array.isArray(inputs) ? inputs : [inputs];
      const mask = given ?? passedMask(kwargs["mask"], query === value, value!);
      const attentionMask = kwargs["attentionMask"] as tf.Tensor | undefined;
      const heads = [this.#split(query!, "query"), this.#split(key!, "key"), this.#split(value!, "value")] as const;
      if (this.#maps) {
        if (attentionMask) {
          const expected = "none with FAVOR, which cannot honour a mask per query (useCausalMask, or softmax)";
          throw new ArgumentError("attentionMask", expected, `[${attentionMask.shape}]`);
        }
        const options = { mask, causal: this.args.useCausalMask, projection: this.#projection?.read() };
        return this.#join(favorAttention(...heads, { featureMap: this.#maps, ...options }));
      }
      return this.#softmax(heads, mask, attentionMask, kwargs["training"] === true);
    });
  }

  #softmax(
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
    const output = this.#join(softmaxAttention(...heads, { mask, causal, onWeights }));
    if (!returnAttentionScores) return output;
    // kept beyond the attention's own tidy, owned by this one
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

  /** The query's mask goes on with the output. */
  override computeMask(_inputs: tf.Tensor | tf.Tensor[], mask?: tf.Tensor | tf.Tensor[]): tf.Tensor | tf.Tensor[] {
    const first = (Array.isArray(mask) ? mask[0] : mask) ?? null;
    // null where there is none, as in tfjs' own layers, whose types do not say so
    return (this.args.returnAttentionScores ? [first, null] : first) as tf.Tensor;
  }

  override getConfig(): tf.serialization.ConfigDict {
    const config = {
      ...this.args,
      attention: this.#maps ?? "softmax",
      kernelInitializer: initializerConfig(this.#kernelInitializer),
      biasInitializer: initializerConfig(this.#biasInitializer),
    };
    return { ...super.getConfig(), ...ownConfig(config) };
  }
}

function listShapes(shape: tf.Shape | tf.Shape[]): tf.Shape[] {
  return Array.isArray(shape[0]) ? (shape as tf.Shape[]) : [shape as tf.Shape];
}

/** The mask of the values among those that tfjs passes on: the first input's, or a list of one for each input. */
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

/** Padding `[batch, keys]` and a mask per query `[batch, queries, keys]`: both must show a key. */
function joinMasks(padding: tf.Tensor | undefined, perQuery: tf.Tensor | undefined): tf.Tensor | undefined {
  if (!padding || !perQuery) return padding ?? perQuery;
  return tf.mul(tf.expandDims(tf.cast(padding, "float32"), 1), tf.cast(perQuery, "float32"));
}
