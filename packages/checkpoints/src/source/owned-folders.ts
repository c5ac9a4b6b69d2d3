import { createHash, randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { isRunning, ownerOf } from "@favor/hub/owner";

/**
 * Makes a folder for files that do not stay, in the system's temporary folder, and removes those that killed runs left
 * there. The caller removes it.
 */
export function makeScratchFolder(kind: "model" | "speed" | "advise"): string {
  const prefix = `favor-${kind}-`;
  for (const path of abandonedIn(tmpdir(), prefix)) rmSync(path, { recursive: true, force: true });
  const path = join(tmpdir(), `${prefix}${ownName()}`);
  mkdirSync(path, { mode: 0o700 });
  return path;
}

/** Folders whose names begin with a prefix and go on with the {@link ownName} of a process that certainly ended. */
export function abandonedIn(parent: string, prefix: string): string[] {
  return namesIn(parent)
    .filter((name) => name.startsWith(prefix) && isAbandoned(name.slice(prefix.length)))
    .map((name) => join(parent, name))
    .filter((path) => isOwnFolder(path));
}

/** `<pid>-<host>-<start>-<random>` of this process: the end of a folder's name that says whose it is. */
export function ownName(): string {
  const { host, pid, started } = ownerOf(process.pid);
  return `${pid}-${tag(host)}-${tag(started)}-${randomBytes(4).toString("hex")}`;
}

function isAbandoned(owner: string): boolean {
  const [, number, host, start] = /^(\d{1,10})-([\da-f]{8})-([\da-f]{8})-[\da-f]{8}$/.exec(owner) ?? [];
  const pid = Number(number);
  if (!(pid > 0) || host !== tag(ownerOf(process.pid).host)) return false;
  if (!isRunning(pid)) return true;
  // The number may have gone to another process since.
  const { started } = ownerOf(pid);
  return started !== undefined && start !== tag(undefined) && start !== tag(started);
}

function tag(text: string | undefined): string {
  return text === undefined ? "00000000" : createHash("sha256").update(text).digest("hex").slice(0, 8);
}

/** Whether there is a folder, no link, that this user made. */
function isOwnFolder(path: string): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && (process.getuid === undefined || found.uid === process.getuid());
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
