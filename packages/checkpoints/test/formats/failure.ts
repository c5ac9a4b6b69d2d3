import { CheckpointError } from "../../src/formats/errors.ts";

/** The CheckpointError that `run` throws; any other outcome fails the test. */
export function failure(run: () => unknown): CheckpointError {
  try {
    run();
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
  throw new Error("Nothing was thrown.");
}
