import * as nodeFs from "node:fs/promises";

import { HubStorageError } from "../errors.ts";

/** The file system: `node:fs/promises`, or something that behaves like it. */
export type FileSystem = typeof nodeFs;

/** An error's system code, such as `ENOENT`. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" && /^(?:E[A-Z0-9]+|UNKNOWN)$/.test(code) ? code : undefined;
}

/** Whether an error says that there is nothing at a path. */
export function isAbsent(error: unknown): boolean {
  const code = systemCode(error);
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Whether an error may mean that another process has a file open, which Windows then does not replace. */
export function isHeld(error: unknown): boolean {
  return ["EPERM", "EACCES", "EBUSY"].includes(systemCode(error) ?? "");
}

/** Runs an operation; `undefined` when there is nothing at its path. */
export async function ifPresent<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** Reads something that the cache can do without; `undefined` when the system does not give it. */
export async function ifReadable<T>(operation: Promise<T>): Promise<T | undefined> {
  try {
    return await operation;
  } catch (error) {
    if (systemCode(error) !== undefined) return undefined;
    throw error;
  }
}

/** Runs an operation that writes below `folder`; its system errors become {@link HubStorageError}. */
export async function writing<T>(folder: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined || error instanceof HubStorageError) throw error;
    throw storageError(code, folder, error);
  }
}

function storageError(code: string, folder: string, cause: unknown): HubStorageError {
  const details = { folder, systemCode: code };
  switch (code) {
    case "ENOSPC":
    case "EDQUOT":
      return new HubStorageError(
        "hub-disk-full",
        `The disk of ${folder} is full (${code}). Free some space, or set HF_HUB_CACHE to a folder on another disk.`,
        details,
        cause,
      );
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return new HubStorageError(
        "hub-not-writable",
        `${folder} cannot be written (${code === "EROFS" ? "its disk is read-only" : "no permission"}, ${code}). Set HF_HUB_CACHE to a folder that you may write.`,
        details,
        cause,
      );
    case "ENOENT":
    case "ESTALE":
      return new HubStorageError(
        "hub-storage",
        `${folder} vanished while it was written (${code}): something else removed it or a part of it. Run again; if it happens again, set HF_HUB_CACHE to another folder.`,
        details,
        cause,
      );
    default:
      return new HubStorageError("hub-storage", `${folder} cannot be written: ${String(cause)}`, details, cause);
  }
}
