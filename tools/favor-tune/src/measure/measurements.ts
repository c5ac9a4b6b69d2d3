import type { Evaluation } from "@favor/measure";
import type { TuningRecord } from "@favor/report";

import type { NamedTensors } from "../training/stage.ts";

/** A model during training, on the validation data. */
export interface Measurement {
  /** What the curves show. */
  readonly value: number;
  /**
   * What weights are chosen by; more is better. For masked tokens, this is minus their mean cross-entropy: it changes with every
   * step, where accuracy may not.
   */
  readonly score: number;
}

/** The quality of every model of a run. */
export interface Measured {
  /** For `favor.json`. */
  readonly record: TuningRecord["measured"];
  /** The evaluation as favor-convert would record it, if a separate file was measured on; `verify` can reproduce it. */
  readonly evaluation: Evaluation | undefined;
  /** What the curves show, but on the held-out data. */
  readonly values: { readonly before: number; readonly after: number };
}

/**
 * How the models of a run are measured: on the validation data during training, which choose the weights, and in the end on
 * the held-out data, by which nothing is chosen. Close it with {@link Measurements.close}.
 */
export interface Measurements {
  /** The held-out inputs, masked if the model predicts masked tokens. */
  readonly rows: readonly (readonly number[])[];
  /** What the curves show, such as "masked accuracy". */
  readonly curveOf: string;
  /** The converted model before training, on the validation data. */
  readonly before: Measurement;
  /** That of the original, if it is known and the value is not relative to it. */
  readonly original: Measurement | undefined;
  /**
   * Measures a model on the validation data, in onnxruntime.
   *
   * @param path - an ONNX file.
   * @throws {InputError} `model-fails-to-run`.
   */
  validate(path: string): Promise<Measurement>;
  /**
   * Measures the trained model on the held-out data.
   *
   * @param weights - the trained weights of the model, and of the control.
   */
  finish(weights: (target: "model" | "control") => NamedTensors): Promise<Measured>;
  close(): Promise<void>;
}
