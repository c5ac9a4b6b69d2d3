import { constants } from "node:fs";
import { open } from "node:fs/promises";

import { InputError, messageOf, systemCode } from "../errors.ts";

/**
 * Reads a small regular file whole. Links are followed (the Hugging Face cache is made of links); a folder, pipe or
 * device is refused before a byte is read, and a file above `limit` bytes too.
 *
 * @returns the bytes, or `undefined` if there is no such file.
 * @throws {InputError} `file-unreadable`, `file-too-large`.
 */
export async function readSmallFile(path: string, limit: number): Promise<Buffer | undefined> {
  try {
    // O_NONBLOCK: opening a pipe that nobody writes to must not hang.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const found = await file.stat();
      if (!found.isFile()) {
        throw new InputError(`${path} is not a regular file. Give the checkpoint's own file or folder.`, {
          code: "file-unreadable",
        });
      }
      if (found.size > limit) {
        throw new InputError(
          `${path} has ${found.size} bytes; a file of this kind has at most ${limit}. It is probably not what its ` +
            `name says: look at it, and put the checkpoint's original file in its place.`,
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
