import { FavorError } from "@favor/core";

/** What is wrong with a checkpoint's files, its weights or its configuration. Stable. */
export type CheckpointErrorCode =
  /** The bytes break the rules of their format. */
  | "malformed"
  /** The file ends too early. */
  | "truncated"
  /** Well-formed, but larger or deeper than a checkpoint needs to be. */
  | "limit-exceeded"
  /** A format, or a form of it, that is not read: legacy PyTorch, TorchScript, git-LFS pointers. */
  | "unsupported-format"
  /** A pickle wants something that is not on the list of what a state dict needs: `details.global` names it. */
  | "unsafe-pickle"
  /** A tensor's type is not supported where it is needed. */
  | "unsupported-type"
  | "checkpoint-not-found"
  /** config.json lacks a value, or has one that cannot be. */
  | "bad-config"
  | "unsupported-model"
  | "unsupported-activation"
  /** A variant of a known architecture that is not built: relative positions, decoders. */
  | "unsupported-variant"
  | "missing-weights"
  | "unexpected-weights"
  | "shape-mismatch"
  | "vocabulary-mismatch";

/** A checkpoint that cannot be read, or from which no graph can be built. `details` name files, weights and values. */
export class CheckpointError extends FavorError<CheckpointErrorCode> {
  constructor(
    code: CheckpointErrorCode,
    message: string,
    details: Readonly<Record<string, unknown>> = {},
    cause?: unknown,
  ) {
    super(message, { code, details, cause });
  }
}
