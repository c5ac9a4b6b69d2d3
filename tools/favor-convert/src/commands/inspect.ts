import { inspectAttention } from "@favor/onnx";
import type { SiteReport } from "@favor/onnx";

import { silent } from "../progress/progress.ts";
import type { Progress } from "../progress/progress.ts";
import { checkConfiguration } from "../source/check-configuration.ts";
import { openSourceModel } from "../source/open-source-model.ts";
import { openSource } from "../source/source.ts";
import type { SourceOptions } from "../source/source.ts";
import { maskOperations } from "./request.ts";

export interface Inspection {
  /** The model's file, absolute. */
  readonly model: string;
  /** Every softmax attention of the graph, in the order of data flow. */
  readonly sites: readonly SiteReport[];
  readonly notes: readonly string[];
}

/**
 * Every attention of a checkpoint, and whether it may be replaced.
 *
 * @param path - a checkpoint folder, an `.onnx` file or the id of a model at the Hub.
 * @param options - which of its files.
 * @throws {InputError} and the errors of `@favor/onnx` for a source that cannot be read.
 */
export async function inspect(
  path: string,
  options: SourceOptions = {},
  progress: Progress = silent,
): Promise<Inspection> {
  const source = await openSource(path, options, progress);
  const opened = await openSourceModel(source);
  try {
    const { sites, notes } = inspectAttention(opened.model, { maskOperations });
    return { model: source.modelPath, sites, notes: [...notes, ...checkConfiguration(source.config, sites)] };
  } finally {
    opened.close();
  }
}
