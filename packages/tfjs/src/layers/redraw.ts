import { ArgumentError } from "@favor/core";
import type * as tf from "@tensorflow/tfjs";
import { canRedraw } from "./composite-layer.ts";

/** Draws every projection of a model's layers anew (2009.14794, section 4.2), once. */
export function redrawProjections(model: tf.LayersModel): void {
  for (const layer of model.layers) if (canRedraw(layer)) layer.redraw();
}

/**
 * A callback for `model.fit` that redraws the projections after every `steps` training steps (batches). Prediction and
 * evaluation never redraw. Throws ArgumentError unless `steps` is an integer of at least 1.
 */
export function redrawEvery(steps: number, model: tf.LayersModel): tf.CustomCallbackArgs {
  if (!Number.isInteger(steps) || steps < 1) throw new ArgumentError("steps", "an integer of at least 1", steps);
  let step = 0;
  return {
    onBatchEnd: () => {
      step++;
      if (step % steps === 0) redrawProjections(model);
    },
  };
}
