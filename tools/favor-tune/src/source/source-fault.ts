import { ModelFileError } from "@favor/onnx";

import { TrainingError } from "../errors.ts";

/**
 * An error of a model's file that was written over while the run read from it, in terms of what the user can do; any other
 * error as it is. (A file that was removed, or replaced by another of its name, is read on as it was.)
 *
 * @param hasCheckpoint - whether there is anything to go on from.
 */
export function sourceFault(error: unknown, hasCheckpoint: boolean): unknown {
  const isChanged = error instanceof ModelFileError && error.code === "file-changed";
  return isChanged && hasCheckpoint ? sourceChanged(error.path, error) : error;
}

/** A file that the run still needs is no longer what it was at the beginning. */
export function sourceChanged(path: string, cause?: Error): TrainingError {
  return new TrainingError(
    `${path} was changed while the run was going on. What was trained up to the last checkpoint is kept: put it back as it ` +
      `was and run the same command with --resume, or begin anew without --resume and with --force.`,
    { code: "source-changed", details: { path }, ...(cause !== undefined && { cause }) },
  );
}
