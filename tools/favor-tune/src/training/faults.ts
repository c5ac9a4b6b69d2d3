import type { TokenSequence } from "@favor/measure/tokens";

import { TrainingError } from "../errors.ts";

/** Of the browser's and Node's allocators, of graphics devices, and of wasm, which aborts where its own has none. */
const memory =
  /out of memory|^Aborted\(|\bOOM\b|allocation failed|enlarge memory|memory access out of bounds|invalid (typed )?array length|exceeds.*(buffer|binding) size/i;
const lost = /device (was |is )?lost|GPUDevice|destroyed device/i;

/**
 * An error of the backend in terms of what the user can change; any other error as it is.
 *
 * @param step - at which it happened, from 0.
 * @param path - of the data.
 * @param sequences - of the step's batch.
 */
export function trainingFault(
  error: unknown,
  step: number,
  path: string,
  sequences: readonly TokenSequence[],
): unknown {
  if (!(error instanceof Error)) return error;
  if (error instanceof TrainingError) {
    // A stage knows what became infinite, not on which lines.
    return error.code === "loss-not-finite" ? notFinite(step, path, sequences, error) : error;
  }
  const kept = "The last checkpoint is kept: run the same command with --resume to go on from it.";
  if (memory.test(error.message)) {
    return new TrainingError(
      `Step ${step + 1} ran out of memory (${error.message}). Compute it in more parts: run the same command with ` +
        `--resume and a larger --accumulate, and it goes on from the last checkpoint. Or make it smaller with --batch or ` +
        `--max-length, and begin anew.`,
      { code: "out-of-memory", cause: error, details: { step } },
    );
  }
  if (lost.test(error.message)) {
    return new TrainingError(
      `The GPU was lost in step ${step + 1} (${error.message}). ${kept} If it happens again: --accumulate for less work ` +
        `at a time, or --backend wasm.`,
      { code: "device-lost", cause: error, details: { step } },
    );
  }
  return error;
}

/** The loss of a step is no number: what it was computed on. */
export function notFinite(
  step: number,
  path: string,
  sequences: readonly TokenSequence[],
  cause?: Error,
): TrainingError {
  const lines = sequences.map(({ line }) => line).toSorted((a, b) => a - b);
  return new TrainingError(
    `The loss of step ${step + 1} is not finite. Its sequences begin at lines ${lines.join(", ")} of ${path}. Nothing of ` +
      `this step was kept. Look at those lines, or train with a smaller --learning-rate.`,
    { code: "loss-not-finite", details: { step, path, lines }, ...(cause !== undefined && { cause }) },
  );
}
