import { constants } from "node:fs";
import { open } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";

import { InputError, messageOf } from "@favor/checkpoints";
import { headBytes, readableFormats } from "./foreign-formats.ts";

/** A data file, open for reading. */
export interface RegularFile {
  readonly handle: FileHandle;
  /** In bytes. */
  readonly size: number;
  /** The first bytes, {@link headBytes} or all of a shorter file. */
  readonly head: Buffer;
}

/**
 * Opens a file, which must be a regular one: reading a pipe or a device could hang. The caller closes it.
 *
 * @throws {InputError} `file-unreadable`.
 */
export async function openRegularFile(path: string): Promise<RegularFile> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const found = await handle.stat();
    if (!found.isFile()) {
      throw new InputError(`${path} is not a regular file. Give a file of ${readableFormats}.`, {
        code: "file-unreadable",
        details: { path },
      });
    }
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0);
    return { handle, size: found.size, head: buffer.subarray(0, bytesRead) };
  } catch (error) {
    await handle?.close();
    throw error instanceof InputError ? error : unreadable(path, error);
  }
}

/** The error for a file that the operating system refuses to read. */
export function unreadable(path: string, cause: unknown): InputError {
  return new InputError(`${path} cannot be read: ${messageOf(cause)}. Check the path and the permissions.`, {
    code: "file-unreadable",
    cause,
    details: { path },
  });
}
