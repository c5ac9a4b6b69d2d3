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
  /** SHA-256 of the parsed model file, without external data, in hexadecimal. */
  sha256(): Promise<string>;
  /** Closes the files. Values that have not been read can no longer be read. */
  close(): void;
}

/**
 * Opens a model without reading its weights. The graph is parsed. Tensor values of 1 KiB or more, in the file or
 * external, stay where they are (`source`) until `tensorValues` or `writeModel` reads them, so only the graph takes
 * memory. Close the model when you are done.
 *
 * Throws the errors of `decodeModel` and `attachExternalData`, and ModelFileError: "not-found", "not-a-file",
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
