import { ArgumentError } from "@favor/core";
import * as tf from "@tensorflow/tfjs";
import { canRedraw } from "./composite-layer.ts";

/**
 * Redraws every projection of a model once (2009.14794, section 4.2), including those of models and wrappers inside it.
 *
 * @throws ArgumentError if `model` is not a model with layers.
 */
export function redrawProjections(model: tf.LayersModel): void {
  requireModel(model);
  for (const layer of model.layers) redrawLayer(layer);
}

function requireModel(model: tf.LayersModel): void {
  const { layers }: { layers?: unknown } = model ?? {};
  if (!Array.isArray(layers)) throw new ArgumentError("model", "a tf.LayersModel, such as tf.sequential", model);
}

function redrawLayer(layer: tf.layers.Layer): void {
  if (canRedraw(layer)) layer.redraw();
  else if (layer instanceof tf.LayersModel) redrawProjections(layer);
  // tf.layers.timeDistributed and others
  else if ("layer" in layer && layer.layer instanceof tf.layers.Layer) redrawLayer(layer.layer);
}

/**
 * A callback for `model.fit` that redraws the projections after every `steps` training steps (batches). Prediction and
 * evaluation never redraw.
 *
 * @throws ArgumentError unless `steps` is an integer of at least 1 and `model` a model with layers.
 */
export function redrawEvery(steps: number, model: tf.LayersModel): tf.CustomCallbackArgs {
  if (!Number.isInteger(steps) || steps < 1) throw new ArgumentError("steps", "an integer of at least 1", steps);
  requireModel(model);
  let step = 0;
  return {
    onBatchEnd: () => {
      step++;
      if (step % steps === 0) redrawProjections(model);
    },
  };
}
