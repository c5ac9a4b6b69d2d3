import { exitCode, exitCodeOf as commonExitCodeOf } from "@favor/command-line";

import { StoppedError, TrainingError, TuneUsageError } from "./errors.ts";

/** The exit code for an error: the common ones, and those of training. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof StoppedError) return error.signal === "SIGINT" ? exitCode.interrupted : exitCode.ended;
  if (error instanceof TuneUsageError) return exitCode.usage;
  if (error instanceof TrainingError) return exitCode.unexpected;
  return commonExitCodeOf(error);
}
