import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { InputError, messageOf, systemCode } from "../errors.ts";

/**
 * Reads a small regular file. Links are followed (the Hugging Face cache consists of links). Folders, pipes, devices and
 * files larger than `limit` bytes are refused before anything is read.
 *
 * @returns the bytes, or `undefined` if there is no such file.
 * @throws {InputError} `file-unreadable`, `file-too-large`.
 */
export async function readSmallFile(path: string, limit: number): Promise<Buffer | undefined> {
  try {
    // O_NONBLOCK: opening a pipe without a writer must not hang.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile()) {
        throw new InputError(`${path} is not a regular file. Give the checkpoint's file or folder.`, {
          code: "file-unreadable",
        });
      }
      if (found.size > limit) {
        throw new InputError(
          `${path} has ${found.size} bytes; files of this kind have at most ${limit}. It is probably not what its name ` +
            `says: restore the checkpoint's original file.`,
          { code: "file-too-large", details: { path, bytes: found.size, limit } },
        );
      }
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (systemCode(error) === "ENOENT") return undefined;
    throw new InputError(`${path} cannot be read: ${messageOf(error)}. Check the file and its permissions.`, {
      code: "file-unreadable",
      cause: error,
    });
  }
}
