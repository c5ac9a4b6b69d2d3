import { ArgumentError, FavorError } from "@favor/core";

import { OutputError, UsageError, VerificationError } from "./errors.ts";

export const exitCode = { done: 0, unexpected: 1, usage: 2, input: 3, verification: 4 } as const;

/** The exit code for an error: what Favor refuses on purpose is about the input, unless it says otherwise. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCode.usage;
  if (error instanceof VerificationError) return exitCode.verification;
  if (error instanceof OutputError || error instanceof ArgumentError) return exitCode.unexpected;
  return FavorError.isInstance(error) ? exitCode.input : exitCode.unexpected;
}
