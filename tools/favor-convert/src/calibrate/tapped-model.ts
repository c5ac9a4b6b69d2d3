import { join } from "node:path";

import { writeModel } from "@favor/onnx/node";

import type { OutputFolder } from "@favor/checkpoints/node";
import { ModelRunner } from "@favor/measure";
import type { ModelAttention, MomentTap, SampleTap } from "@favor/rewriter";
import type { RunnerOptions } from "@favor/measure";

/** The original model with queries, keys and their sums as additional outputs. */
export interface TappedModel {
  readonly runner: ModelRunner;
  readonly taps: readonly SampleTap[];
  readonly sums: readonly MomentTap[];
  /** A note for each site without a tap. */
  readonly notes: readonly string[];
}

/**
 * Writes a tapped copy of the model to the unfinished folder's temporary folder and opens it. Close the runner when done.
 *
 * @throws {OutputError} `output-unwritable`; {InputError} as `ModelRunner.open`.
 */
export async function openTapped(
  { model, taps, sums, notes }: ReturnType<ModelAttention["tapCalibration"]>,
  output: OutputFolder,
  options: RunnerOptions,
): Promise<TappedModel> {
  const scratch = await output.scratch();
  const path = join(scratch.path, "tapped.onnx");
  await output.fill(() => writeModel(model, path));
  return { runner: await ModelRunner.open(path, options), taps, sums, notes };
}
