import { lstatSync, renameSync, rmdirSync } from "node:fs";
import type { RmOptions } from "node:fs";
import { dirname, resolve } from "node:path";

import { systemCode } from "../errors.ts";

/** Others may add a file to a folder while it is being removed, or hold one open (indexers, NFS, Windows). */
export const removal: RmOptions = { recursive: true, force: true, maxRetries: 5, retryDelay: 50 };

const passing: ReadonlySet<string | undefined> = new Set(["ENOTEMPTY", "EBUSY", "EPERM", "EACCES"]);
const attempts = 5;
const delayMs = 50;

/** Renames; what may pass in a moment is tried again, for a second at most. Synchronous: no signal comes in between. */
export function renameFirmly(from: string, to: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      renameSync(from, to);
      return;
    } catch (error) {
      if (attempt === attempts || !passing.has(systemCode(error))) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, delayMs * attempt);
    }
  }
}

/** Whether there is anything at a path, a link that leads nowhere included. */
export function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/**
 * Removes a folder and those above it, as far as they are empty: somebody else may have put something there.
 *
 * @param last - the topmost to remove; `undefined`: none is.
 */
export function removeEmptyFolders(folder: string, last: string | undefined): void {
  if (last === undefined) return;
  for (let path = resolve(folder); ; path = dirname(path)) {
    try {
      rmdirSync(path);
    } catch {
      return;
    }
    if (path === resolve(last)) return;
  }
}
