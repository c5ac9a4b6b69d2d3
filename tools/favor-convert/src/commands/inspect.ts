import { inspectAttention } from "@favor/onnx";
import type { SiteReport } from "@favor/onnx";

import { checkConfiguration } from "../source/check-configuration.ts";
import { openSourceModel } from "../source/open-source-model.ts";
import { openSource } from "../source/source.ts";

export interface Inspection {
  /** The ONNX file, absolute. */
  readonly model: string;
  /** Every softmax attention of the graph, in the order of data flow. */
  readonly sites: readonly SiteReport[];
  readonly notes: readonly string[];
}

/**
 * Every attention of a checkpoint, and whether it may be replaced.
 *
 * @param path - a checkpoint folder or an `.onnx` file.
 * @throws {InputError} and the errors of `@favor/onnx` for a source that cannot be read.
 */
export async function inspect(path: string): Promise<Inspection> {
  const source = await openSource(path);
  const opened = await openSourceModel(source);
  try {
    const { sites, notes } = inspectAttention(opened.model);
    return { model: source.modelPath, sites, notes: [...notes, ...checkConfiguration(source.config, sites)] };
  } finally {
    opened.close();
  }
}
