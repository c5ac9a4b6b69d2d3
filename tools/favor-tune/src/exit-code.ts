import type { StopSignal } from "@favor/checkpoints/node";
import { exitCode, exitCodeOf as commonExitCodeOf } from "@favor/command-line";

import { StoppedError, TrainingError, TuneUsageError } from "./errors.ts";

/** Exit codes of a stopped run, by signal: 128 and its number, as shells have it. */
const signalCodes: Readonly<Record<StopSignal, number>> = {
  SIGHUP: exitCode.hangup,
  SIGINT: exitCode.interrupted,
  SIGTERM: exitCode.terminated,
};

/** The exit code for an error: the common ones, and those of training. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof StoppedError) return signalCodes[error.signal];
  if (error instanceof TuneUsageError) return exitCode.usage;
  if (error instanceof TrainingError) return exitCode.unexpected;
  return commonExitCodeOf(error);
}
