import { ModelFormatError, TensorError } from "@favor/onnx";
import { openModel } from "@favor/onnx/node";
import type { OpenedModel } from "@favor/onnx/node";

import { InputError, messageOf } from "../errors.ts";
import type { Source } from "./source.ts";

/**
 * Opens a source's model; its weights stay in the file. Close it when done.
 *
 * @throws {InputError} `model-malformed`, naming the file; and what `openModel` throws.
 */
export async function openSourceModel(source: Source): Promise<OpenedModel> {
  try {
    return await openModel(source.modelPath);
  } catch (error) {
    if (!(error instanceof ModelFormatError) && !(error instanceof TensorError)) throw error;
    throw new InputError(`${source.modelPath}: ${messageOf(error)}`, {
      code: "model-malformed",
      cause: error,
      details: { path: source.modelPath, reason: error.code },
    });
  }
}
