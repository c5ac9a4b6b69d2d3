import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription, OptionNames } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import type { ExactKeys } from "../ops/hybrid/exact-keys.ts";
import { exactAttention } from "../ops/exact-attention.ts";
import { attentionCall, attentionShapes, firstMask } from "./attention-call.ts";
import { isExact, linearAttentionOf, mapsOfHeads, requireLayerExactKeys } from "./attention-maps.ts";
import type { AttentionKind } from "./attention-maps.ts";
import { baseLayerArgs, layerArgNames, ownConfig } from "./layer-args.ts";
import type { LayerArgs } from "./layer-args.ts";
import { ProjectionWeight } from "./projection-weight.ts";

/** Arguments of {@link FavorAttention}. */
export interface FavorAttentionArgs extends LayerArgs {
  /** FAVOR with a feature map description whose dim is the query's width, or "exact". */
  readonly attention: AttentionKind;
  /** Keys that are exact for each query, next to FAVOR for all others; see `hybridAttention`. Default: none. */
  readonly exactKeys?: ExactKeys;
  /** Multiplies q.k. Default width^(-1/2); 1 is what Keras' Attention does. */
  readonly scale?: number;
  /** Query i sees the keys 0..i. Default false. */
  readonly useCausalMask?: boolean;
}

const names: OptionNames<FavorAttentionArgs> = {
  ...layerArgNames,
  attention: true,
  exactKeys: true,
  scale: true,
  useCausalMask: true,
};

/**
 * Attention of a single head without weights of its own, called like Keras' Attention: with a list of query `[batch,
 * queries, dim]`, value `[batch, keys, valueDim]`, key `[batch, keys, dim]` (default: the value) and padding mask of
 * the values `[batch, keys]`, or with one tensor that serves as all three. The output is `[batch, queries, valueDim]`.
 * Masks work as in MultiHeadAttention. Its only weight is the projection `[1, count, dim]`, which is never trained.
 *
 * @throws ArgumentError, naming the argument, if shapes disagree, the scale is not a positive number, or a config comes
 * from a newer version;
 * FavorError `unknown-option`.
 */
export class FavorAttention extends tf.layers.Layer {
  static readonly className = "FavorAttention";
  readonly args: FavorAttentionArgs;
  /** Undefined for exact attention. */
  readonly #projection: ProjectionWeight | undefined;

  constructor(args: FavorAttentionArgs) {
    super(baseLayerArgs(args, names));
    this.args = args;
    this.supportsMasking = true;
    const { attention, scale = 1 } = args;
    if (!(scale > 0 && scale < Infinity)) throw new ArgumentError("scale", "a finite number greater than 0", scale);
    requireLayerExactKeys(args.exactKeys, attention);
    if (!isExact(attention)) this.#projection = new ProjectionWeight(mapsOfHeads(attention, 1));
  }

  /** The feature map in use, with the redraw number of the current projection; undefined for exact attention. */
  get featureMap(): FeatureMapDescription | undefined {
    return this.#projection?.maps[0];
  }

  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [query, , key] = attentionShapes(inputShape);
    if (key[2] !== query[2]) throw new ArgumentError("key", `the width of the query, ${query[2]}`, key[2]);
    if (this.#projection) mapsOfHeads(this.#projection.maps, 1, query[2]!);
    const zeros = tf.initializers.zeros();
    this.#projection?.build((shape) => this.addWeight("projection", shape, "float32", zeros, undefined, false));
    this.built = true;
  }

  /** Redraws the projection; see `MultiHeadAttention.redraw`. */
  redraw(): void {
    this.#projection?.redraw();
  }

  override call(inputs: tf.Tensor | tf.Tensor[], kwargs: Record<string, unknown> = {}): tf.Tensor {
    return tf.tidy(() => {
      const { query, key, value, mask } = attentionCall(inputs, kwargs);
      const [q, k, v] = [query, key, value].map((x) => tf.expandDims(x, 1)) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const { useCausalMask: causal, scale, exactKeys } = this.args;
      const options = { mask, causal, scale };
      if (!this.#projection) return tf.squeeze(exactAttention(q, k, v, options), [1]);
      const { maps } = this.#projection;
      const linear = { ...options, exactKeys, featureMap: maps, projection: this.#projection.read() };
      return tf.squeeze(linearAttentionOf(q, k, v, linear), [1]);
    });
  }

  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [query, value] = attentionShapes(inputShape);
    return [query[0]!, query[1]!, value[2]!];
  }

  /** The output passes on the mask of the query. */
  override computeMask(_inputs: tf.Tensor | tf.Tensor[], mask?: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return firstMask(mask);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...ownConfig({ ...this.args, attention: this.featureMap ?? "exact" }) };
  }
}
