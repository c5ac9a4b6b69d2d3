import { join } from "node:path";

import { hashFile, openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { onnxFileOf, openSource } from "@favor/checkpoints/node";
import type { FavorFile } from "@favor/report";

import { TuneInputError } from "../errors.ts";

/** The softmax original, as an ONNX file and as a graph. */
export interface OriginalModel {
  readonly path: string;
  readonly opened: OpenedModel;
  readonly sha256: string;
}

/**
 * Opens the original of a conversion: a folder, an `.onnx` file or the id of a model on the Hub, as for favor-convert.
 *
 * @param scratch - an existing folder, for the graph that is built if the checkpoint has only weights.
 * @throws {TuneInputError} `teacher-mismatch` if it is not the checkpoint that was converted.
 */
export async function openOriginal(folder: string, favor: FavorFile, scratch: string): Promise<OriginalModel> {
  const { model: file, task } = favor.source;
  const source = await openSource(folder, { file, ...(task !== undefined && { task }) });
  const sha256 = await hashFile(source.modelPath);
  if (sha256 !== favor.source.sha256) {
    throw new TuneInputError(
      `--teacher ${folder}: ${source.modelPath} is not the checkpoint that was converted (sha256 ${sha256}, favor.json ` +
        `says ${favor.source.sha256} of ${favor.source.name}/${favor.source.model}). Give that one.`,
      { code: "teacher-mismatch", details: { path: source.modelPath, sha256, expected: favor.source.sha256 } },
    );
  }
  const path = await onnxFileOf(source, join(scratch, "original.onnx"));
  return { path, opened: await openModel(path), sha256 };
}
