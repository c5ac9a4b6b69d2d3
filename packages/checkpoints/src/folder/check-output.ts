import { lstatSync, mkdirSync, readlinkSync, rmdirSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";

import { UsageError } from "../errors.ts";
import type { Progress } from "../progress.ts";
import { realPathOf } from "../source/source.ts";
import { renameFirmly } from "./file-system.ts";
import { isMountPoint } from "./mount-point.ts";
import { checkNotInTheWay, settleAbandoned, shortList } from "./replace-folder.ts";
import { workFolderFor } from "./work-folder.ts";
import { favorFile, foreignIn, isInTheWay, ownFiles } from "./written-files.ts";
import { writing } from "./writing.ts";

export interface OutputFolderOptions {
  /** Replace what Favor wrote into an existing output folder; everything else in it is kept. */
  readonly force: boolean;
  /** The source: the output may neither be it nor contain it. */
  readonly sources: readonly string[];
  /** Files that will be written, as far as they are known before: none of them may be somebody else's. Default: none. */
  readonly files?: readonly string[];
  /** Called when a stop signal has removed the unfinished folder; synchronous. Default: nothing. */
  readonly interrupted?: () => void;
}

/**
 * Gets the place of an output folder ready, before any work is done: cleans up after runs that were killed there, checks
 * that the folder may be written, and that it can be moved, as replacing it will need.
 *
 * @param progress - what was cleaned up, and what of an existing folder is kept.
 * @throws {UsageError} as {@link checkOutput}; {OutputError} `output-unwritable`.
 */
export async function prepareOutput(path: string, options: OutputFolderOptions, progress: Progress): Promise<void> {
  for (const done of settleAbandoned(resolve(path))) progress.note(done);
  const { target, kept } = await checkOutput(path, options);
  if (kept.length > 0) progress.note(`Favor did not write ${shortList(kept)} in ${target}: kept.`);
  if (statSync(target, { throwIfNoEntry: false }) !== undefined) await writing(target, () => tryToMove(target));
}

/** Moves a folder aside and back. Synchronous; a process killed in between leaves what {@link settleAbandoned} restores. */
function tryToMove(target: string): void {
  const { path, old } = workFolderFor(target);
  mkdirSync(path);
  try {
    renameFirmly(target, old);
    renameFirmly(old, target);
  } finally {
    rmdirSync(path);
  }
}

/** An output folder's place. */
export interface OutputPlace {
  /** Absolute path. */
  readonly target: string;
  /** Files of the folder that is there which Favor wrote, and which are replaced. */
  readonly own: ReadonlySet<string>;
  /** What else is in it, and stays. */
  readonly kept: readonly string[];
}

/**
 * Checks that an output folder may be written. Changes nothing.
 *
 * @throws {OutputError} `output-unwritable`; {UsageError} `output-exists`, `output-not-favor` (with `force`, if Favor did not write the folder),
 * `output-is-source`, `output-holds-source`, `output-is-link`, `output-is-mount`, `output-holds-foreign` (somebody
 * else's file, or one that was changed since, has the name of one to be written).
 */
export async function checkOutput(path: string, options: OutputFolderOptions): Promise<OutputPlace> {
  const target = resolve(path);
  return writing(target, () => check(target, options));
}

async function check(target: string, options: OutputFolderOptions): Promise<OutputPlace> {
  await checkNotSource(target, options.sources);
  checkLinks(target);
  const found = lstatSync(target, { throwIfNoEntry: false });
  if (found === undefined) return { target, own: new Set(), kept: [] };
  if (found.isDirectory() && isMountPoint(await realPathOf(target))) {
    throw new UsageError(
      `A file system is mounted at ${target}, so the folder cannot appear there complete or not at all. Name a folder ` +
        `inside it: -o ${join(target, "model")}.`,
      { code: "output-is-mount", details: { path: target } },
    );
  }
  const names = await readdir(target).catch(() => undefined);
  const isOurs = names !== undefined && (names.length === 0 || names.includes(favorFile));
  if (isOurs && !options.force) {
    throw new UsageError(`${target} already exists. Name another folder after -o, or pass --force to replace it.`, {
      code: "output-exists",
      details: { path: target },
    });
  }
  if (!isOurs) {
    const what = names === undefined ? "a file" : `not a folder that favor-convert wrote (it has no ${favorFile})`;
    throw new UsageError(
      `${target} exists and is ${what}, so it is not replaced, even with --force. Name another folder after -o, or ` +
        `remove this one yourself.`,
      { code: options.force ? "output-not-favor" : "output-exists", details: { path: target } },
    );
  }
  return existing(target, new Set(options.files));
}

/** What of an existing folder of Favor's is replaced, and what stays. */
async function existing(target: string, planned: ReadonlySet<string>): Promise<OutputPlace> {
  const own = await ownFiles(target);
  const kept = foreignIn(target, own, planned);
  checkNotInTheWay(target, kept, (name) => isInTheWay(name, planned));
  const real = await realPathOf(target);
  const mounted = kept.find((name) => isMountPoint(join(real, name)));
  if (mounted !== undefined) {
    throw new UsageError(
      `A file system is mounted at ${join(target, mounted)}, which would have to move with the folder. Unmount it, or ` +
        `name another folder after -o.`,
      { code: "output-is-mount", details: { path: join(target, mounted) } },
    );
  }
  return { target, own, kept };
}

async function checkNotSource(target: string, sources: readonly string[]): Promise<void> {
  const real = await realPathOf(target);
  for (const source of sources) {
    const realSource = await realPathOf(source);
    if (real === realSource) {
      throw new UsageError(`The output folder ${target} is the source itself. Name another folder after -o.`, {
        code: "output-is-source",
        details: { path: target },
      });
    }
    if (holds(real, realSource)) {
      throw new UsageError(
        `The output folder ${target} contains the source (${source}), so writing it would replace the source. Name ` +
          `another folder after -o.`,
        { code: "output-holds-source", details: { path: target, source } },
      );
    }
  }
}

/** A link cannot be replaced by a folder without being lost; one above the folder must lead somewhere. */
function checkLinks(target: string): void {
  for (let path = target; ; path = dirname(path)) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) continue;
    if (!found.isSymbolicLink()) return;
    const end = readlinkSync(path);
    const isDangling = statSync(path, { throwIfNoEntry: false }) === undefined;
    if (path !== target && !isDangling) return;
    throw new UsageError(
      `${path} is a link to ${end}, ${isDangling ? "which does not exist. Remove the link" : "and would be replaced. Name the folder itself"}` +
        `, or name another folder after -o.`,
      { code: "output-is-link", details: { path, to: end } },
    );
  }
}

/** Whether `inner` is `outer` or lies in it. Links must be resolved in both. */
function holds(outer: string, inner: string): boolean {
  const way = relative(outer, inner);
  return way === "" || (!way.startsWith(`..${sep}`) && way !== ".." && resolve(outer, way) === inner);
}
