import type { StopSignal } from "@favor/checkpoints/node";
import { FavorError } from "@favor/core";

/** The command line or the request is at fault: exit code 2. */
export type TuneUsageErrorCode = "bad-arguments" | "resume-mismatch" | "training-exists" | "backend-unavailable";

export class TuneUsageError extends FavorError<TuneUsageErrorCode> {}

/** The converted folder, its teacher or the data cannot be used for tuning: exit code 3. */
export type TuneInputErrorCode =
  | "not-converted"
  | "weights-mismatch"
  | "teacher-mismatch"
  | "teacher-not-finite"
  | "tokenizer-mismatch"
  | "not-masked-language"
  | "nothing-to-train"
  | "nothing-to-redraw"
  | "inputs-unknown"
  | "data-too-small"
  | "checkpoint-malformed";

export class TuneInputError extends FavorError<TuneInputErrorCode> {}

/** Training failed; the last checkpoint is kept: exit code 1. */
export type TrainingErrorCode =
  | "loss-not-finite"
  | "out-of-memory"
  | "device-lost"
  | "checkpoint-unwritable"
  | "disk-failed"
  | "data-changed"
  | "source-changed";

export class TrainingError extends FavorError<TrainingErrorCode> {}

/** The run was interrupted (SIGINT, SIGTERM, SIGHUP) after writing a checkpoint: exit code 130, 143 or 129. */
export class StoppedError extends FavorError<"stopped"> {
  readonly signal: StopSignal;

  constructor(message: string, signal: StopSignal) {
    super(message, { code: "stopped", details: { signal } });
    this.signal = signal;
  }
}
