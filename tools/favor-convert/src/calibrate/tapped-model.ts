import { join } from "node:path";

import { tapMoments, tapSamples } from "@favor/onnx";
import type { ModelProto, MomentTap, SampleTap } from "@favor/onnx";
import { writeModel } from "@favor/onnx/node";

import type { OutputFolder } from "../folder/output-folder.ts";
import { ModelRunner } from "../measure/runner.ts";
import type { RunnerOptions } from "../measure/runner.ts";

/** The original model with queries and keys, or their sums, as additional outputs. */
export interface TappedModel<Tap> {
  readonly runner: ModelRunner;
  readonly taps: readonly Tap[];
  /** A sentence for each site that has no tap. */
  readonly notes: readonly string[];
}

/**
 * Writes a tapped copy of the model into the unfinished folder's scratch and opens it; close the runner when done.
 *
 * @throws {OutputError} `output-unwritable`; {InputError} as `ModelRunner.open`.
 */
async function openTapped<Tap>(
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

export function openMoments(
  model: ModelProto,
  output: OutputFolder,
  options: RunnerOptions,
): Promise<TappedModel<MomentTap>> {
  return openTapped("moments.onnx", tapMoments(model), output, options);
}

export function openSamples(
  model: ModelProto,
  output: OutputFolder,
  options: RunnerOptions,
): Promise<TappedModel<SampleTap>> {
  return openTapped("samples.onnx", tapSamples(model), output, options);
}
