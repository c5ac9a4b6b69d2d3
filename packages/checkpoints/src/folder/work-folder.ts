import { createHash, randomBytes } from "node:crypto";
import { lstatSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import { isRunning, ownerOf } from "@favor/hub/owner";

/**
 * The hidden folder, next to an output folder, in which one run makes it. Its name,
 * `.<output>.partial-<pid>-<host>-<start>-<random>`, says whose it is: a run that was killed cannot clean up, so a later
 * one does, and must not touch what a living process is writing.
 */
export interface WorkFolder {
  readonly path: string;
  /** What the output will be. */
  readonly fresh: string;
  /** What the output was, while the two change places. */
  readonly old: string;
  /** Files that do not stay. */
  readonly scratch: string;
  /** Lists which files of `old` are being replaced; written before the places change. */
  readonly journal: string;
}

/** Paths of a new work folder of this process for an output folder; nothing is created. */
export function workFolderFor(target: string): WorkFolder {
  const { host, pid, started } = ownerOf(process.pid);
  const owner = `${pid}-${tag(host)}-${tag(started)}-${randomBytes(4).toString("hex")}`;
  return workFolderAt(join(dirname(target), `${prefixFor(target)}${owner}`));
}

/** Work folders for an output folder whose processes certainly ended. */
export function abandonedWorkFolders(target: string): WorkFolder[] {
  const parent = dirname(target);
  const prefix = prefixFor(target);
  return namesIn(parent)
    .filter((name) => name.startsWith(prefix) && isAbandoned(name.slice(prefix.length)))
    .map((name) => join(parent, name))
    .filter((path) => isOwnFolder(path))
    .map((path) => workFolderAt(path));
}

function workFolderAt(path: string): WorkFolder {
  const [fresh, old, scratch] = [join(path, "new"), join(path, "old"), join(path, "scratch")];
  return { path, fresh, old, scratch, journal: join(path, "replaced.json") };
}

function prefixFor(target: string): string {
  return `.${basename(target)}.partial-`;
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
