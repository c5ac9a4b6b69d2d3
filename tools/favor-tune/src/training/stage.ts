import type { TokenSequence } from "@favor/measure/tokens";

/** Float32 tensors by name, as checkpoints hold them. Shapes are known to whoever made them. */
export type NamedTensors = ReadonlyMap<string, Float32Array>;

/** The sequences of one optimisation step. */
export interface TrainingBatch {
  /** Of the stage, from 0: with the seed, all that random numbers of the step may depend on. */
  readonly step: number;
  /** The pass over the data that the batch belongs to, from 0. */
  readonly epoch: number;
  /** Unmasked token ids, of nearly equal lengths. */
  readonly sequences: readonly TokenSequence[];
}

/** What one step did. */
export interface StepResult {
  readonly loss: number;
  /** Share of the masked tokens that were predicted rightly, where the stage predicts any. */
  readonly accuracy?: number;
  /** Tokens that went through the model, padding not counted. */
  readonly tokens: number;
}

/**
 * What the training loop knows of a stage: distillation or masked language modelling. Given the same calls it computes
 * the same numbers to the bit on the same backend; whatever outlives a step is in {@link TrainingStage.state}.
 */
export interface TrainingStage {
  /**
   * One optimisation step.
   *
   * @param learningRate - of this step: the loop owns the schedule.
   */
  step(batch: TrainingBatch, learningRate: number): Promise<StepResult>;
  /** Current values of the initializers that the stage trains, by the name that the model's file has for them. */
  weights(): Promise<NamedTensors>;
  /** Everything that a resumed stage needs: trained values and the optimiser's moments. */
  state(): Promise<NamedTensors>;
  /** Takes over what {@link TrainingStage.state} gave in an earlier process. */
  restore(state: NamedTensors): Promise<void>;
  /** Frees the memory of the device. */
  dispose(): Promise<void> | void;
}
