import { decodeModel } from "../model/decode.ts";
import { attachExternalData } from "../model/external-data.ts";
import type { DecodeLimits } from "../model/limits.ts";
import type { ModelProto } from "../model/proto.ts";
import { externalDataFromFolder } from "./external-data.ts";
import { InputFile } from "./input-file.ts";

/** A model whose weights are still in their files. */
export interface OpenedModel {
  readonly model: ModelProto;
  readonly path: string;
  /** of the model file, in bytes */
  readonly length: number;
  /** Paths of the files that hold external data. */
  readonly externalFiles: readonly string[];
  /** SHA-256 of the model file (external data not included) in hexadecimal; the very file that was parsed. */
  sha256(): Promise<string>;
  /** Closes the files. Values that were not read by then can no longer be. */
  close(): void;
}

/**
 * Opens a model without reading its weights: the graph is parsed, and the values of tensors of 1 KiB and more, in the
 * file or external, are left where they are (`source`) until `tensorValues` or `writeModel` reads them. Memory is that
 * of the graph. Close the model when done.
 *
 * Throws what `decodeModel` and `attachExternalData` throw, and ModelFileError: "not-found", "not-a-file",
 * "permission-denied", "file-changed", "io-failed".
 */
export async function openModel(path: string, limits: Partial<DecodeLimits> = {}): Promise<OpenedModel> {
  const file = new InputFile(path);
  const external: InputFile[] = [];
  const close = (): void => {
    for (const opened of [file, ...external]) opened.close();
  };
  try {
    const model = decodeModel(file, limits);
    attachExternalData(model, externalDataFromFolder(path, external));
    return {
      model,
      path,
      length: file.length,
      externalFiles: external.map((opened) => opened.path),
      sha256: () => file.sha256(),
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}
