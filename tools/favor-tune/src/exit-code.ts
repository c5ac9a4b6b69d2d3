import { ArgumentError, FavorError } from "@favor/core";
import { OutputError, UsageError } from "favor-convert";

import { StoppedError, TrainingError, TuneUsageError } from "./errors.ts";

/** What the process ends with. */
export const exitCode = { done: 0, unexpected: 1, usage: 2, input: 3, interrupted: 130, ended: 143 } as const;

/** The exit code for an error: what Favor refuses on purpose is about the input, unless it says otherwise. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof StoppedError) return error.signal === "SIGINT" ? exitCode.interrupted : exitCode.ended;
  if (error instanceof UsageError || error instanceof TuneUsageError) return exitCode.usage;
  if (error instanceof TrainingError || error instanceof OutputError || error instanceof ArgumentError) {
    return exitCode.unexpected;
  }
  return FavorError.isInstance(error) ? exitCode.input : exitCode.unexpected;
}
