import { FavorError } from "@favor/core";

/** The command line or the request is at fault: exit code 2. */
export type UsageErrorCode =
  | "bad-arguments"
  | "output-exists"
  | "output-not-favor"
  | "output-is-source"
  | "output-holds-source"
  | "output-holds-foreign"
  | "output-is-link"
  | "output-is-mount";

export class UsageError extends FavorError<UsageErrorCode> {}

/** An input file is missing, malformed, or does not fit the others: exit code 3. */
export type InputErrorCode =
  | "file-unreadable"
  | "file-too-large"
  | "source-without-model"
  | "source-ambiguous"
  | "config-malformed"
  | "tokenizer-missing"
  | "tokenizer-malformed"
  | "tokenizer-mismatch"
  | "tokenizer-unsupported"
  | "tokenizer-ambiguous"
  | "tokenizer-too-slow"
  | "data-malformed"
  | "column-unknown"
  | "data-empty"
  | "sequence-too-long"
  | "model-malformed"
  | "model-inputs-unknown"
  | "model-fails-to-run"
  | "weights-not-finite"
  | "converted-malformed"
  | "budget-unreachable";

export class InputError extends FavorError<InputErrorCode> {}

/** The output could not be written (disk full, read-only, no permission): exit code 1. */
export class OutputError extends FavorError<"output-unwritable"> {}

/** The operating system's code for an error (`ENOENT`, `ENOSPC`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** The message of anything that was thrown, on one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replaceAll(/\s*\n\s*/g, " ").trim();
}
