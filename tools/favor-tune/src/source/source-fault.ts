import { ModelFileError } from "@favor/onnx";

import { TrainingError } from "../errors.ts";

/**
 * Turns the error for a model's file that was overwritten during the run into one that says what to do, and returns any
 * other error unchanged. (A file that was removed or replaced can still be read.)
 *
 * @param hasCheckpoint - whether there is a checkpoint to resume from.
 */
export function sourceFault(error: unknown, hasCheckpoint: boolean): unknown {
  const isChanged = error instanceof ModelFileError && error.code === "file-changed";
  return isChanged && hasCheckpoint ? sourceChanged(error.path, error) : error;
}

/** The error for a file that changed although the run still needs it. */
export function sourceChanged(path: string, cause?: Error): TrainingError {
  return new TrainingError(
    `${path} was changed during the run. The last checkpoint is kept: restore the original state and run the same command ` +
      `with --resume, or start over with --force instead of --resume.`,
    { code: "source-changed", details: { path }, ...(cause !== undefined && { cause }) },
  );
}
