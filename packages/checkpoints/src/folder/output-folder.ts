import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, readFile, readdir, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative, resolve, sep } from "node:path";

import { OutputError, UsageError, messageOf, systemCode } from "../errors.ts";
import { realPathOf } from "../source/source.ts";
import { removeOnInterrupt } from "../source/interruption.ts";

/** Marks a folder as written by Favor; `--force` replaces no others. */
const marker = "favor.json";

export interface OutputFolderOptions {
  /** Replace an output folder that Favor wrote earlier. */
  readonly force: boolean;
  /** The source: the output may neither be it nor contain it. */
  readonly sources: readonly string[];
}

/**
 * A folder that appears complete or not at all. Files are written to a hidden sibling, which {@link OutputFolder.commit}
 * renames. {@link OutputFolder.discard}, SIGINT and SIGTERM remove it, and every parent that was created for it.
 */
export class OutputFolder {
  /** Final path of the folder. */
  readonly path: string;
  /** Path of the unfinished folder. */
  readonly partial: string;
  readonly #force: boolean;
  /** The topmost parent folder that had to be created, if any. */
  readonly #madeParent: string | undefined;
  readonly #stopListening: () => void;

  private constructor(path: string, partial: string, madeParent: string | undefined, force: boolean) {
    this.path = path;
    this.partial = partial;
    this.#madeParent = madeParent;
    this.#force = force;
    this.#stopListening = removeOnInterrupt(() => {
      rmSync(partial, { recursive: true, force: true });
      if (madeParent !== undefined) rmSync(madeParent, { recursive: true, force: true });
    });
  }

  /**
   * Checks that the folder may be written, and creates the unfinished one.
   *
   * @throws {UsageError} as {@link checkOutput}; {OutputError} `output-unwritable`.
   */
  static async begin(path: string, options: OutputFolderOptions): Promise<OutputFolder> {
    const target = await checkOutput(path, options);
    const partial = join(
      dirname(target),
      `.${basename(target)}.partial-${process.pid}-${randomBytes(4).toString("hex")}`,
    );
    const madeParent = await writing(target, () => mkdir(dirname(target), { recursive: true }));
    try {
      await writing(target, () => mkdir(partial));
    } catch (error) {
      if (madeParent !== undefined) await rm(madeParent, { recursive: true, force: true });
      throw error;
    }
    return new OutputFolder(target, partial, madeParent, options.force);
  }

  /** Absolute path of a file to write in the unfinished folder; creates its parent folder. */
  async pathFor(name: string): Promise<string> {
    const path = join(this.partial, name);
    await writing(this.path, () => mkdir(dirname(path), { recursive: true }));
    return path;
  }

  async write(name: string, contents: string): Promise<void> {
    const path = await this.pathFor(name);
    await writing(this.path, () => writeFile(path, contents));
  }

  /** Copies a file's contents, but not its permissions. A link is copied as the file it points to. */
  async copy(from: string, name: string): Promise<void> {
    const path = await this.pathFor(name);
    const contents = await readFile(from);
    await writing(this.path, () => writeFile(path, contents));
  }

  /** A temporary folder inside the unfinished one; remove it before {@link OutputFolder.commit}. */
  async scratch(): Promise<{ readonly path: string; remove(): Promise<void> }> {
    const path = join(this.partial, ".scratch");
    await writing(this.path, () => mkdir(path, { recursive: true }));
    return { path, remove: () => rm(path, { recursive: true, force: true }) };
  }

  /** Runs an action that writes to the unfinished folder; if the disk refuses, the error names the folder. */
  async fill<T>(action: () => Promise<T>): Promise<T> {
    return writing(this.path, action);
  }

  /** Moves the folder to its final path, replacing the old one with `force`. */
  async commit(): Promise<void> {
    const old = `${this.partial}.old`;
    await writing(this.path, async () => {
      const replaced = this.#force && (await exists(this.path));
      if (replaced) await rename(this.path, old);
      try {
        await rename(this.partial, this.path);
      } catch (error) {
        if (replaced) await rename(old, this.path);
        throw error;
      }
    });
    this.#stopListening();
    await rm(old, { recursive: true, force: true });
  }

  /** Removes everything that was written so far. */
  async discard(): Promise<void> {
    this.#stopListening();
    await rm(this.partial, { recursive: true, force: true });
    if (this.#madeParent === undefined) return;
    // Only empty folders: somebody else may have used them meanwhile.
    for (let folder = dirname(this.path); ; folder = dirname(folder)) {
      const removed = await rmdir(folder).then(
        () => true,
        () => false,
      );
      if (!removed || folder === this.#madeParent) return;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

/** Whether `inner` is `outer` or lies inside it; both with links resolved. */
function holds(outer: string, inner: string): boolean {
  const way = relative(outer, inner);
  return way === "" || (!way.startsWith(`..${sep}`) && way !== ".." && resolve(outer, way) === inner);
}

/**
 * Checks that an output folder may be written, before any work is done.
 *
 * @returns the folder's absolute path.
 * @throws {UsageError} `output-exists`, `output-not-favor` (with `force`, if Favor did not write the folder),
 * `output-is-source`, `output-holds-source`.
 */
export async function checkOutput(path: string, options: OutputFolderOptions): Promise<string> {
  const target = resolve(path);
  const real = await realPathOf(target);
  for (const source of options.sources) {
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
  if (!(await exists(target))) return target;
  const names = await readdir(target).catch(() => undefined);
  const isOurs = names !== undefined && (names.length === 0 || names.includes(marker));
  if (isOurs && !options.force) {
    throw new UsageError(`${target} already exists. Name another folder after -o, or pass --force to replace it.`, {
      code: "output-exists",
      details: { path: target },
    });
  }
  if (!isOurs) {
    const what = names === undefined ? "a file" : `not a folder that favor-convert wrote (it has no ${marker})`;
    throw new UsageError(
      `${target} exists and is ${what}, so it is not replaced, even with --force. Name another folder after -o, or ` +
        `remove this one yourself.`,
      { code: options.force ? "output-not-favor" : "output-exists", details: { path: target } },
    );
  }
  return target;
}

const diskAdvice: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: free some space, or name a folder on another disk after -o.",
  EDQUOT: "Your disk quota is used up: free some space, or name a folder on another disk after -o.",
  EFBIG: "The file is larger than the disk or the process's limit allows: name a folder on another disk after -o.",
  EROFS: "The disk is read-only: name a folder on another disk after -o.",
  EACCES: "You have no permission to write there: name another folder after -o, or change its permissions.",
  EPERM: "You have no permission to write there: name another folder after -o, or change its permissions.",
  EEXIST: "Part of the path is a file: name another folder after -o.",
  ENOTDIR: "Part of the path is a file: name another folder after -o.",
  ENAMETOOLONG: "The path is too long: name a shorter one after -o.",
};

/**
 * Runs `action`. Errors of the file system, and errors caused by them, become {@link OutputError}s that name the
 * folder.
 */
async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
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
