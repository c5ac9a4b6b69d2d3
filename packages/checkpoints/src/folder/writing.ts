import { OutputError, messageOf, systemCode } from "../errors.ts";

const diskAdvice: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: free some space, or name a folder on another disk after -o.",
  EDQUOT: "Your disk quota is used up: free some space, or name a folder on another disk after -o.",
  EFBIG: "The file is larger than the disk or the process's limit allows: name a folder on another disk after -o.",
  EROFS: "The disk is read-only: name a folder on another disk after -o.",
  EACCES: "You have no permission to write there: name another folder after -o, or change its permissions.",
  EPERM: "You have no permission to write there: name another folder after -o, or change its permissions.",
  EEXIST: "Part of the path is a file: name another folder after -o.",
  ENOTDIR: "Part of the path is a file: name another folder after -o.",
  EXDEV:
    "The folder cannot be moved aside, since it lies in a layer of another file system (as in a container's image): " +
    "move it elsewhere yourself, or name another folder after -o.",
  EBUSY: "Something holds the folder (a mount, or a program that has it open): name another folder after -o.",
  ENOTEMPTY: "Another program put files there meanwhile: name another folder after -o.",
  ENAMETOOLONG: "The path is too long: name a shorter one after -o.",
};

/**
 * Runs `action`. Errors of the file system, and errors caused by them, become {@link OutputError}s that name the
 * folder.
 */
export async function writing<T>(path: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      const code = systemCode(cause) ?? "";
      if (!/^E[A-Z]+$/.test(code)) continue;
      const advice = diskAdvice[code] ?? "Check the disk, or name a folder elsewhere after -o.";
      throw new OutputError(`${path} cannot be written (${messageOf(cause)}). ${advice} Nothing was left behind.`, {
        code: "output-unwritable",
        cause: error,
        details: { path, system: code },
      });
    }
    throw error;
  }
}
