import {
  chmodSync,
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";

import { z } from "zod";

import { UsageError, messageOf } from "../errors.ts";
import { isThere, removal, renameFirmly } from "./file-system.ts";
import { abandonedWorkFolders, workFolderFor } from "./work-folder.ts";
import type { WorkFolder } from "./work-folder.ts";
import { filesIn, foreignIn, isInTheWay } from "./written-files.ts";

/**
 * Puts the new folder in the old one's place. What is not Favor's moves over, as it is. Synchronous, so that no signal
 * of JavaScript comes in between; a process that is killed here leaves a journal, and {@link settleAbandoned} finishes.
 *
 * @param own - the files of the old folder that are replaced.
 * @returns what moved over, as paths inside the folder.
 * @throws {UsageError} `output-holds-foreign`, or the system's error; the old folder is in its place again.
 */
export function replaceFolder(work: WorkFolder, target: string, own: ReadonlySet<string>): string[] {
  writeJournal(work, own);
  renameFirmly(target, work.old);
  const moved: string[] = [];
  try {
    moveOver(work, target, own, moved);
    chmodSync(work.fresh, statSync(work.old).mode);
    renameFirmly(work.fresh, target);
  } catch (error) {
    for (const name of moved.toReversed()) renameFirmly(join(work.fresh, name), join(work.old, name));
    renameFirmly(work.old, target);
    throw error;
  }
  return moved;
}

function moveOver({ old, fresh }: WorkFolder, target: string, own: ReadonlySet<string>, moved: string[]): void {
  const planned = new Set(filesIn(fresh));
  const foreign = foreignIn(old, own, planned);
  // Where case does not count, two names may be one file.
  checkNotInTheWay(target, foreign, (name) => isInTheWay(name, planned) || isThere(join(fresh, name)));
  for (const name of foreign) {
    mkdirSync(dirname(join(fresh, name)), { recursive: true });
    renameFirmly(join(old, name), join(fresh, name));
    moved.push(name);
  }
}

/**
 * Cleans up after runs that were killed while they made this output folder. If one was killed while the old and the new
 * folder changed places, the change is finished, or the old folder restored.
 *
 * @returns what was done, a sentence each.
 */
export function settleAbandoned(target: string): string[] {
  return abandonedWorkFolders(target).flatMap(({ path }) => {
    // Under our own name nobody else takes it for abandoned.
    const work = workFolderFor(target);
    try {
      renameFirmly(path, work.path);
    } catch {
      // Another process was faster.
      return [];
    }
    try {
      return [settle(work, target)];
    } catch (error) {
      return [`${work.path}, which a run that was killed left behind, cannot be cleaned up: ${messageOf(error)}.`];
    }
  });
}

function settle(work: WorkFolder, target: string): string {
  const own = readJournal(work);
  if (!isThere(work.old)) {
    rmSync(work.path, removal);
    return `Removed what a killed run left next to ${target}.`;
  }
  if (!isThere(target)) {
    if (own !== undefined && isThere(work.fresh)) {
      moveOver(work, target, own, []);
      renameFirmly(work.fresh, target);
      rmSync(work.path, removal);
      return `Finished ${target}: an earlier run was killed while it replaced the folder.`;
    }
    renameFirmly(work.old, target);
    // Without a journal, the rest is ours alone only where the change had not begun.
    if (own !== undefined || !isThere(work.fresh)) rmSync(work.path, removal);
    return `Restored ${target}: an earlier run was killed while it replaced the folder.`;
  }
  if (own === undefined || foreignIn(work.old, own, new Set()).length > 0) {
    return (
      `${work.old} holds files that were in ${target} when an earlier run was killed. Move them where they belong, and ` +
      `remove ${work.path}.`
    );
  }
  rmSync(work.path, removal);
  return `Removed what a killed run left next to ${target}.`;
}

/** @throws {UsageError} `output-holds-foreign`, naming what stands where a file of ours would be. */
export function checkNotInTheWay(
  target: string,
  foreign: readonly string[],
  isInOurWay: (name: string) => boolean,
): void {
  const names = foreign.filter((name) => isInOurWay(name));
  if (names.length === 0) return;
  throw new UsageError(
    `${target} holds ${shortList(names)}, which Favor did not write or somebody changed since, and this command would ` +
      `write a file of that name. Move it elsewhere, or name another folder after -o.`,
    { code: "output-holds-foreign", details: { path: target, names } },
  );
}

/** The first few names. */
export function shortList(names: readonly string[]): string {
  const most = 5;
  const rest = names.length - most;
  return names.slice(0, most).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

const journalSchema = z.array(z.string());

function writeJournal({ journal }: WorkFolder, own: ReadonlySet<string>): void {
  const file = openSync(journal, "w");
  try {
    writeSync(file, JSON.stringify([...own]));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function readJournal({ journal }: WorkFolder): ReadonlySet<string> | undefined {
  try {
    return new Set(journalSchema.parse(JSON.parse(readFileSync(journal, "utf8"))));
  } catch {
    return undefined;
  }
}
