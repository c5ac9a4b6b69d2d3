import { FavorError } from "@favor/core";

/** What is wrong with a checkpoint's files, weights or configuration. These codes are stable. */
export type CheckpointErrorCode =
  /** The bytes violate their format. */
  | "malformed"
  /** The file ends too early. */
  | "truncated"
  /** Well-formed, but larger or deeper than a checkpoint needs to be. */
  | "limit-exceeded"
  /** A format or variant that is not supported: legacy PyTorch, TorchScript, git-LFS pointers. */
  | "unsupported-format"
  /** A pickle refers to something that a state dict does not need; `details.global` names it. */
  | "unsafe-pickle"
  /** A tensor's type is not supported where it is needed. */
  | "unsupported-type"
  | "checkpoint-not-found"
  /** config.json lacks a value, or has an invalid one. */
  | "bad-config"
  | "unsupported-model"
  | "unsupported-activation"
  /** An unsupported variant of a known architecture: relative positions, decoders. */
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
