import { readdirSync, statSync } from "node:fs";
import { join, posix } from "node:path";

import { fileError } from "@favor/onnx/node";

/**
 * The files of a checkpoint folder that a model is chosen from: those directly inside it, inside its `onnx/`, and next
 * to `file`. Links count as what they lead to; a broken link is listed, so that reading it can say what is wrong.
 *
 * @param file - a requested file's path inside the folder.
 * @returns paths relative to the folder, with forward slashes.
 * @throws FileError if the folder cannot be read.
 */
export function listFolder(folder: string, file?: string): string[] {
  const places = new Set([".", "onnx", posix.dirname(posix.normalize(file ?? "."))]);
  return [...places].flatMap((place) =>
    namesIn(folder, place)
      .map((name) => posix.join(place, name))
      .filter((path) => statSync(join(folder, path), { throwIfNoEntry: false })?.isDirectory() !== true),
  );
}

/** Names inside a folder of the checkpoint, which need not exist unless it is the checkpoint itself. */
function namesIn(folder: string, place: string): string[] {
  try {
    return readdirSync(join(folder, place));
  } catch (cause) {
    if (place !== ".") return [];
    throw fileError("read", folder, cause);
  }
}
