import type { Schedule } from "../request.ts";

/** A learning rate over the steps of a stage. */
export interface LearningRate {
  /** The highest value, reached at the end of the warm-up. */
  readonly peak: number;
  /** Steps in which it rises linearly from peak / warmup; at least 0. */
  readonly warmup: number;
  readonly schedule: Schedule;
  /** Steps of the stage. */
  readonly steps: number;
}

/**
 * The learning rate of a step, counted from 0. After the warm-up it stays `constant`, falls to 0 after the last step in a
 * `linear` way, or as peak (1 + cos(pi t)) / 2 (`cosine`; Loshchilov & Hutter 2016, without restarts).
 */
export function learningRateAt(step: number, { peak, warmup, schedule, steps }: LearningRate): number {
  if (step < warmup) return (peak * (step + 1)) / warmup;
  if (schedule === "constant") return peak;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  return schedule === "linear" ? peak * (1 - progress) : (peak * (1 + Math.cos(Math.PI * progress))) / 2;
}
