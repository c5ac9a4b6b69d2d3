import type { Evaluation } from "@favor/measure";
import type { TuningRecord } from "@favor/report";

import type { NamedTensors } from "../training/stage.ts";

/** The quality of every model of a run. */
export interface Measured {
  /** For `favor.json`. */
  readonly record: TuningRecord["measured"];
  /** The evaluation as favor-convert would record it, if a separate file was measured on; `verify` can reproduce it. */
  readonly evaluation: Evaluation | undefined;
}

/** The held-out data, and how the models of a run are measured on them. Close it with {@link Measurements.close}. */
export interface Measurements {
  /** The held-out inputs, masked if the model predicts masked tokens. */
  readonly rows: readonly (readonly number[])[];
  /** What the curves show, such as "masked accuracy". */
  readonly curveOf: string;
  /** The value of the converted model before training. */
  readonly before: number;
  /** The value of the original, if it is known and the value is not relative to it. */
  readonly original: number | undefined;
  /**
   * Measures a model during training, in onnxruntime; more is better.
   *
   * @param path - an ONNX file.
   * @throws {InputError} `model-fails-to-run`.
   */
  value(path: string): Promise<number>;
  /**
   * Measures the trained model.
   *
   * @param weights - the trained weights of the model, and of the control.
   */
  finish(weights: (target: "model" | "control") => NamedTensors): Promise<Measured>;
  close(): Promise<void>;
}
