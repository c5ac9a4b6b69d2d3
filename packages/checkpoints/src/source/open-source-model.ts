import { rmSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";

import { ModelFormatError, TensorError } from "@favor/onnx";
import type { ModelProto } from "@favor/onnx";
import { hashFile, openModel, writeModel } from "@favor/onnx/node";
import { openCheckpoint } from "./open-checkpoint.ts";

import { InputError, messageOf } from "../errors.ts";
import { makeScratchFolder } from "./owned-folders.ts";
import { removeOnInterrupt } from "./interruption.ts";
import type { Source } from "./located-source.ts";

/** A source's graph, its weights still in their files. */
export interface OpenedSource {
  readonly model: ModelProto;
  /** What was assumed or left out when the graph was built from weights, for people. */
  readonly notes: readonly string[];
  /** Size of the source's file in bytes. */
  readonly length: number;
  /** SHA-256 of the source's file, in hexadecimal. */
  sha256(): Promise<string>;
  close(): void;
}

/** Whether the source is an ONNX file rather than weights. */
function isOnnx({ modelPath }: Source): boolean {
  return modelPath.endsWith(".onnx");
}

/**
 * Opens a source's model, or builds it from weights and `config.json`. The weights stay in their file. Close the model
 * when done.
 *
 * @throws {InputError} `model-malformed`, naming the file; and what `openModel` and `openCheckpoint` throw.
 */
export async function openSourceModel(source: Source): Promise<OpenedSource> {
  const { modelPath, folder, modelName } = source;
  try {
    if (isOnnx(source)) return { ...(await openModel(modelPath)), notes: [] };
    const asked = source.task === undefined ? {} : { task: source.task };
    const { model, notes, close } = await openCheckpoint(folder, { file: modelName, ...asked });
    return { model, notes, length: (await stat(modelPath)).size, sha256: () => hashFile(modelPath), close };
  } catch (error) {
    if (!(error instanceof ModelFormatError) && !(error instanceof TensorError)) throw error;
    throw new InputError(`${modelPath}: ${messageOf(error)}`, {
      code: "model-malformed",
      cause: error,
      details: { path: modelPath, reason: error.code },
    });
  }
}

/**
 * Returns an ONNX file of the source for onnxruntime: its own file, or `path`, to which the built graph is written.
 *
 * @throws as {@link openSourceModel} and `writeModel`.
 */
export async function onnxFileOf(source: Source, path: string): Promise<string> {
  if (isOnnx(source)) return source.modelPath;
  const opened = await openSourceModel(source);
  try {
    await writeModel(opened.model, path);
  } finally {
    opened.close();
  }
  return path;
}

/**
 * Runs an action with an ONNX file of the source. If the file had to be built, it is removed afterwards, even after SIGINT
 * or SIGTERM.
 */
export async function withOnnxFile<T>(source: Source, action: (path: string) => Promise<T>): Promise<T> {
  if (isOnnx(source)) return action(source.modelPath);
  const folder = makeScratchFolder("model");
  const stopWatching = removeOnInterrupt(() => rmSync(folder, { recursive: true, force: true }));
  try {
    return await action(await onnxFileOf(source, join(folder, "model.onnx")));
  } finally {
    await rm(folder, { recursive: true, force: true });
    stopWatching();
  }
}
