import type { TokenSequence } from "@favor/measure/tokens";

import { TrainingError } from "../errors.ts";

/** Messages of allocators, graphics devices and wasm, which aborts when it runs out of memory. */
const memory =
  /out of memory|^Aborted\(|\bOOM\b|allocation failed|enlarge memory|memory access out of bounds|invalid (typed )?array length|exceeds.*(buffer|binding) size/i;
const lost = /device (was |is )?lost|GPUDevice|destroyed device/i;

/**
 * Turns an error of the backend into one that says what to do, and returns any other error unchanged.
 *
 * @param step - the step at which it happened, from 0.
 * @param path - the data file.
 * @param sequences - the sequences of the step.
 */
export function trainingFault(
  error: unknown,
  step: number,
  path: string,
  sequences: readonly TokenSequence[],
): unknown {
  if (!(error instanceof Error)) return error;
  if (error instanceof TrainingError) {
    // A stage knows what is not finite, but not the lines.
    return error.code === "loss-not-finite" ? notFinite(step, path, sequences, error) : error;
  }
  const kept = "The last checkpoint is kept: run the same command with --resume to continue from it.";
  if (memory.test(error.message)) {
    return new TrainingError(
      `Step ${step + 1} ran out of memory (${error.message}). Compute it in more parts: run the same command with ` +
        `--resume and a larger --accumulate to continue from the last checkpoint. Alternatively, start over with a ` +
        `smaller --batch or --max-length.`,
      { code: "out-of-memory", cause: error, details: { step } },
    );
  }
  if (lost.test(error.message)) {
    return new TrainingError(
      `The GPU was lost in step ${step + 1} (${error.message}). ${kept} If it happens again, pass --accumulate ` +
        `for less work at a time, or --backend wasm.`,
      { code: "device-lost", cause: error, details: { step } },
    );
  }
  return error;
}

/** The error for a loss that is not finite, with the lines of its data. */
export function notFinite(
  step: number,
  path: string,
  sequences: readonly TokenSequence[],
  cause?: Error,
): TrainingError {
  const lines = sequences.map(({ line }) => line).toSorted((a, b) => a - b);
  return new TrainingError(
    `The loss of step ${step + 1} is not finite. Its sequences begin at lines ${lines.join(", ")} of ${path}. The ` +
      `step was discarded. Check those lines, or train with a smaller --learning-rate.`,
    { code: "loss-not-finite", details: { step, path, lines }, ...(cause !== undefined && { cause }) },
  );
}
