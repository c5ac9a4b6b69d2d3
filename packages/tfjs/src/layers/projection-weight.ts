import { ArgumentError } from "@favor/core";
import type { FeatureMapDescription } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { drawProjections } from "../ops/feature-parameters.ts";

/** The maps of one layer, and the weight that holds their projections. Only {@link redraw} draws again. */
export class ProjectionWeight {
  /** One per head, with the redraw number (`epoch`) of the current projections. */
  maps: readonly FeatureMapDescription[];
  #variable: tf.LayerVariable | undefined;

  constructor(maps: readonly FeatureMapDescription[]) {
    this.maps = maps;
  }

  /** Draws into the layer's weight `[heads, count, dim]`, made by `addWeight`; maps without a projection need none. */
  build(addWeight: (shape: number[]) => tf.LayerVariable): void {
    const [first] = this.maps;
    if (!first || !("projection" in first)) return;
    this.#variable = refuseNonFinite(addWeight([this.maps.length, first.projection.count, first.projection.dim]));
    this.#draw();
  }

  /** Undefined for maps without a random projection. */
  read(): tf.Tensor | undefined {
    return this.#variable?.read();
  }

  /** Replaces each projection by the next of its description's sequence. */
  redraw(): void {
    if (!this.#variable) return;
    this.maps = this.maps.map((map) => {
      if (!("projection" in map)) return map;
      return { ...map, projection: { ...map.projection, epoch: (map.projection.epoch ?? 0) + 1 } };
    });
    this.#draw();
  }

  #draw(): void {
    tf.tidy(() => void this.#variable?.write(drawProjections(this.maps)));
  }
}

/**
 * Checks the weight when it is written, by loading a model or by `setWeights`, rather than in every call: one number
 * that is not finite would make every output NaN. Not on webgpu, which cannot read a tensor back without waiting.
 */
function refuseNonFinite(weight: tf.LayerVariable): tf.LayerVariable {
  const write = weight.write.bind(weight);
  weight.write = (value) => {
    const found = tf.getBackend() === "webgpu" ? undefined : value.dataSync().find((x) => !Number.isFinite(x));
    if (found !== undefined) {
      throw new ArgumentError("projection", "finite numbers (the saved weights are damaged; load a copy)", found);
    }
    return write(value);
  };
  return weight;
}
