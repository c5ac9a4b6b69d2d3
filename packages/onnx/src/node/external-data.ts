import fs from "node:fs";
import { dirname, join, normalize } from "node:path";
import { ExternalDataError, ModelFileError } from "../model/errors.ts";
import type { ExternalDataLoader } from "../model/external-data.ts";
import { fileError } from "./file-errors.ts";
import { InputFile } from "./input-file.ts";

/**
 * A loader for the external data of the model at `modelPath`. It adds the files that it opens to `opened`; the caller
 * closes them.
 *
 * A model is untrusted. Therefore the loader opens only regular files with a single name, in the model's real folder or
 * below: no symbolic link in any part of the path, no hard link, folder, FIFO or device. After opening, it checks that
 * the open file is still the one at that path. The only exception is a download cache in which both the model and its
 * data are links into one folder of plain files (the Hugging Face cache).
 *
 * Throws ExternalDataError. `externalLocation` has already checked the location itself.
 */
export function externalDataFromFolder(modelPath: string, opened: InputFile[]): ExternalDataLoader {
  const folder = fs.realpathSync(dirname(modelPath));
  return (location, tensor) => {
    const path = join(folder, normalize(location));
    const refuse = (found: string, cause?: unknown): ExternalDataError =>
      new ExternalDataError(tensor, location, found, cause);
    let real: string;
    try {
      real = fs.realpathSync(path);
    } catch (cause) {
      const error = fileError("read", path, cause);
      // The system's error would say the same in other words.
      if (error.code === "not-found") throw refuse(`it is not in ${JSON.stringify(folder)}. Put it next to the model.`);
      throw refuse(error.message, error);
    }
    if (real !== path && !isCacheEntry(modelPath, path, real)) {
      throw refuse(`${JSON.stringify(path)} is a symbolic link, or leads through one. Put the file itself there.`);
    }
    let file: InputFile;
    try {
      file = new InputFile(real, { followLinks: false });
    } catch (cause) {
      const reason = cause instanceof ModelFileError ? cause.message : "it cannot be opened.";
      throw refuse(reason, cause);
    }
    opened.push(file);
    if (file.stats.nlink > 1) {
      throw refuse(`${JSON.stringify(path)} has ${file.stats.nlink} names (hard links). Replace it with a copy.`);
    }
    // Someone may have replaced it by a link between the check and the opening.
    const now = fs.lstatSync(real, { throwIfNoEntry: false });
    if (now?.ino !== file.stats.ino || now.dev !== file.stats.dev || fs.realpathSync(path) !== real) {
      throw refuse("the file was replaced while it was being opened. Try again when nothing writes to the folder.");
    }
    return file;
  };
}

/** Whether model and data are links from one folder into one other folder, and the data is a plain file there. */
function isCacheEntry(modelPath: string, path: string, real: string): boolean {
  if (!fs.lstatSync(modelPath).isSymbolicLink() || !fs.lstatSync(path).isSymbolicLink()) return false;
  const sameFolder = dirname(path) === fs.realpathSync(dirname(modelPath));
  return sameFolder && dirname(real) === dirname(fs.realpathSync(modelPath));
}
