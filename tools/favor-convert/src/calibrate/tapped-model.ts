import { join } from "node:path";

import type { ModelProto } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";

import type { OutputFolder } from "@favor/checkpoints/node";
import { ModelRunner } from "@favor/measure";
import type { RunnerOptions } from "@favor/measure";

/** The original model with queries and keys, or their sums, as additional outputs. */
export interface TappedModel<Tap> {
  readonly runner: ModelRunner;
  readonly taps: readonly Tap[];
  /** A note for each site without a tap. */
  readonly notes: readonly string[];
}

/**
 * Writes a tapped copy of the model to the unfinished folder's temporary folder and opens it. Close the runner when done.
 *
 * @throws {OutputError} `output-unwritable`; {InputError} as `ModelRunner.open`.
 */
export async function openTapped<Tap>(
  name: string,
  tapped: { readonly model: ModelProto; readonly taps: readonly Tap[]; readonly notes: readonly string[] },
  output: OutputFolder,
  options: RunnerOptions,
): Promise<TappedModel<Tap>> {
  const scratch = await output.scratch();
  const path = join(scratch.path, name);
  await output.fill(() => writeModel(tapped.model, path));
  return { runner: await ModelRunner.open(path, options), taps: tapped.taps, notes: tapped.notes };
}
