import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";

type Weights = tf.LayerVariable[];

/**
 * A layer made of layers. tfjs tracks only the weights that a layer adds itself. Here, a layer's own weights and those
 * of its parts are trained, counted, saved and loaded together, under names `layer/part/weight`.
 */
export abstract class CompositeLayer extends tf.layers.Layer {
  /** In the order of the weights. */
  abstract readonly parts: readonly tf.layers.Layer[];

  override get trainableWeights(): Weights {
    return this.trainable ? [...super.trainableWeights, ...this.#ofParts((part) => part.trainableWeights)] : [];
  }

  override set trainableWeights(weights: Weights) {
    super.trainableWeights = weights;
  }

  override get nonTrainableWeights(): Weights {
    const ofParts = this.#ofParts((part) => (this.trainable ? part.nonTrainableWeights : part.weights));
    return [...super.nonTrainableWeights, ...ofParts];
  }

  override set nonTrainableWeights(weights: Weights) {
    super.nonTrainableWeights = weights;
  }

  /** The base constructor runs before `parts` is there. */
  #ofParts(weights: (part: tf.layers.Layer) => Weights): Weights {
    return ((this.parts as CompositeLayer["parts"] | undefined) ?? []).flatMap(weights);
  }

  override setFastWeightInitDuringBuild(value: boolean): void {
    super.setFastWeightInitDuringBuild(value);
    for (const part of this.parts) part.setFastWeightInitDuringBuild(value);
  }

  /** Builds a part for inputs of `shape`, and names its weights below the name of this layer. */
  protected buildPart(part: tf.layers.Layer, shape: tf.Shape): void {
    part.apply(new tf.SymbolicTensor("float32", shape, null as never, [], {}));
  }

  /**
   * The parts that are not trained, by their places: "1/0" is the first part of the second. (Not their names: tfjs takes
   * underscores out of the strings of a config.)
   */
  #frozenParts(): string[] {
    return this.parts.flatMap((part, i) => {
      const inside = part instanceof CompositeLayer ? part.#frozenParts().map((path) => `${i}/${path}`) : [];
      return part.trainable ? inside : [`${i}`, ...inside];
    });
  }

  /**
   * Stops the training of parts, as a saved config names them.
   *
   * @throws ArgumentError for a part that the layer does not have.
   */
  protected freezeParts(paths: readonly string[] = []): void {
    for (const path of paths) {
      const [place, ...rest] = path.split("/");
      const part = this.parts[Number(place)];
      if (part && rest.length === 0) part.trainable = false;
      else if (part instanceof CompositeLayer) part.freezeParts([rest.join("/")]);
      else throw new ArgumentError("frozenParts", `places of the ${this.parts.length} parts, such as "0"`, path);
    }
  }

  override getConfig(): tf.serialization.ConfigDict {
    const frozenParts = this.#frozenParts();
    return { ...super.getConfig(), ...(frozenParts.length > 0 && { frozenParts }) };
  }

  /** The regularizers of the parts belong to the layer. */
  override calculateLosses(): tf.Scalar[] {
    return [...super.calculateLosses(), ...this.parts.flatMap((part) => part.calculateLosses())];
  }

  /** Redraws the projections of every part; see `MultiHeadAttention.redraw`. */
  redraw(): void {
    for (const part of this.parts) if (canRedraw(part)) part.redraw();
  }

  override computeMask(_inputs: tf.Tensor | tf.Tensor[], mask?: tf.Tensor | tf.Tensor[]): tf.Tensor | tf.Tensor[] {
    return ((Array.isArray(mask) ? mask[0] : mask) ?? null) as tf.Tensor;
  }
}

/** Whether a layer has projections to redraw. */
export function canRedraw(layer: tf.layers.Layer): layer is tf.layers.Layer & { redraw(): void } {
  return "redraw" in layer && typeof layer.redraw === "function";
}
