import { stat } from "node:fs/promises";
import { join } from "node:path";

import { FavorError } from "@favor/core";
import { hashFile, openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";
import { onnxFileOf, openSource } from "@favor/checkpoints/node";
import type { Source, SourceOptions } from "@favor/checkpoints/node";
import type { FavorFile } from "@favor/report";

import { TuneInputError } from "../errors.ts";

/** The softmax original, as an ONNX file and as a graph. */
export interface OriginalModel {
  readonly path: string;
  readonly opened: OpenedModel;
  readonly sha256: string;
}

/**
 * Opens the original of a conversion: a folder, an `.onnx` file or the id of a model on the Hub, as for favor-convert. Its
 * model is found as favor-convert finds it, unless the file that was converted is there under its name. What counts is its
 * SHA-256.
 *
 * @param given - what the user passed: the teacher.
 * @param scratch - an existing folder, for the graph that is built if the checkpoint has only weights.
 * @throws {TuneInputError} `teacher-mismatch` if it is not the checkpoint that was converted; what `openSource` throws.
 */
export async function openOriginal(
  given: string,
  { source: recorded, model: converted }: FavorFile,
  scratch: string,
): Promise<OriginalModel> {
  const { task } = recorded;
  const source = await openTeacher(given, recorded, { ...(task !== undefined && { task }) });
  const sha256 = await hashFile(source.modelPath);
  if (sha256 !== recorded.sha256) {
    const found =
      sha256 === converted.sha256
        ? "is the converted model itself, not its original"
        : `is not the checkpoint that was converted (sha256 ${sha256})`;
    throw new TuneInputError(
      `--teacher ${given}: ${source.modelPath} ${found}. Give the checkpoint whose ${recorded.model} has the sha256 ` +
        `${recorded.sha256}: it was called ${recorded.name}` +
        `${recorded.revision === undefined ? "" : `, revision ${recorded.revision} on the Hub`}.`,
      { code: "teacher-mismatch", details: { path: source.modelPath, sha256, expected: recorded.sha256 } },
    );
  }
  const path = await onnxFileOf(source, join(scratch, "original.onnx"));
  return { path, opened: await openModel(path), sha256 };
}

async function openTeacher(given: string, recorded: FavorFile["source"], options: SourceOptions): Promise<Source> {
  const isFile = await stat(given).then(
    (found) => found.isFile(),
    () => undefined,
  );
  if (isFile === true) return openSource(given, options);
  // A repository may have moved on since.
  const { name, revision } = recorded;
  const there = isFile === undefined && given === name && revision !== undefined ? { ...options, revision } : options;
  try {
    return await openSource(given, { ...there, file: recorded.model });
  } catch (error) {
    const isOfOtherName =
      FavorError.isInstance(error) && ["source-without-model", "file-unreadable"].includes(error.code);
    if (!isOfOtherName) throw error;
    return openSource(given, there);
  }
}
