import type { TokenSequence } from "@favor/measure/tokens";

/** Float32 tensors by name, as in checkpoints, without their shapes. */
export type NamedTensors = ReadonlyMap<string, Float32Array>;

/** The sequences of one optimisation step. */
export interface TrainingBatch {
  /** Step of the stage, from 0. Random numbers may depend only on it and the seed. */
  readonly step: number;
  /** The pass over the data, from 0. */
  readonly epoch: number;
  /** Unmasked sequences of similar length. */
  readonly sequences: readonly TokenSequence[];
}

/** The result of one step. */
export interface StepResult {
  readonly loss: number;
  /** Share of masked tokens predicted correctly, for stages that predict tokens. */
  readonly accuracy?: number;
  /** Tokens processed, without padding. */
  readonly tokens: number;
}

/**
 * A stage as the training loop sees it: distillation, alignment or masked language modelling. The same calls give the same numbers on
 * the same backend, to the bit. Everything that outlives a step is in {@link TrainingStage.state}.
 */
export interface TrainingStage {
  /**
   * Makes one optimisation step.
   *
   * @param learningRate - learning rate of this step; the loop owns the schedule.
   */
  step(batch: TrainingBatch, learningRate: number): Promise<StepResult>;
  /** Current values of the trained initializers, by their names in the model's file. */
  weights(): Promise<NamedTensors>;
  /** Everything needed to resume the stage: trained values and the optimiser's moments. */
  state(): Promise<NamedTensors>;
  /** Restores a {@link TrainingStage.state}, possibly of an earlier process. */
  restore(state: NamedTensors): Promise<void>;
  /** Frees device memory. */
  dispose(): Promise<void> | void;
}
