import { ModelFileError } from "../model/errors.ts";
import type { OnnxErrorCode } from "../model/errors.ts";

const meanings: Readonly<Record<string, readonly [code: OnnxErrorCode, message: string]>> = {
  ENOENT: ["not-found", "it does not exist. Check the path."],
  ENOTDIR: ["not-found", "a part of the path is a file, not a folder. Check the path."],
  EISDIR: ["not-a-file", "it is a folder. Pass a file."],
  EACCES: ["permission-denied", "you are not allowed to. Change the permissions, or choose another folder."],
  EPERM: ["permission-denied", "you are not allowed to. Change the permissions, or choose another folder."],
  EROFS: ["read-only", "the file system is read-only. Choose another folder."],
  ENOSPC: ["no-space", "the disk is full. Free some space, or choose another disk. Nothing was left behind."],
  EDQUOT: ["no-space", "your disk quota is used up. Free some space, or choose another disk. Nothing was left behind."],
  EFBIG: ["no-space", "the file is larger than the file system or your limits allow. Choose another disk."],
  EMFILE: ["io-failed", "too many files are open. Close models that are no longer needed."],
};

/** Makes a ModelFileError of a failed system call. `doing` is the verb of the message: "read" or "write". */
export function fileError(doing: string, path: string, cause: unknown): ModelFileError {
  if (cause instanceof ModelFileError) return cause;
  const system = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const [code, message] = Object.hasOwn(meanings, system)
    ? meanings[system]!
    : (["io-failed", cause instanceof Error ? cause.message : String(cause)] as const);
  return new ModelFileError(code, path, `Cannot ${doing} ${JSON.stringify(path)}: ${message}`, cause);
}
