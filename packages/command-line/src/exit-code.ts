import { ArgumentError, FavorError } from "@favor/core";

import { OutputError, UsageError } from "@favor/checkpoints";

import { MemoryError } from "./out-of-memory.ts";

/** Exit codes of the command-line tools. */
export const exitCode = {
  done: 0,
  unexpected: 1,
  usage: 2,
  input: 3,
  verification: 4,
  hangup: 129,
  interrupted: 130,
  terminated: 143,
} as const;

/** Errors of `@favor/hub` that another id, token or revision would fix. The others are the network's. */
const hubInput: readonly string[] = [
  "hub-invalid-name",
  "hub-gated",
  "hub-unauthorized",
  "hub-forbidden",
  "hub-repository-not-found",
  "hub-revision-not-found",
  "hub-file-not-found",
  "hub-offline",
];

/** The exit code for an error. Whatever else Favor refuses is the fault of the input. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCode.usage;
  if (error instanceof OutputError || error instanceof ArgumentError || error instanceof MemoryError)
    return exitCode.unexpected;
  if (!FavorError.isInstance(error)) return exitCode.unexpected;
  return error.code.startsWith("hub-") && !hubInput.includes(error.code) ? exitCode.unexpected : exitCode.input;
}
