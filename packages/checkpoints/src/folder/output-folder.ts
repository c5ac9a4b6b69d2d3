import { createHash } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

import { hashFile } from "@favor/onnx/node";

import { removeOnInterrupt } from "../source/interruption.ts";
import { checkOutput } from "./check-output.ts";
import type { OutputFolderOptions } from "./check-output.ts";
import { isThere, removal, removeEmptyFolders, renameFirmly } from "./file-system.ts";
import { replaceFolder } from "./replace-folder.ts";
import { workFolderFor } from "./work-folder.ts";
import type { WorkFolder } from "./work-folder.ts";
import { filesIn, lastingPart } from "./written-files.ts";
import type { WrittenFile } from "./written-files.ts";
import { writing } from "./writing.ts";

/**
 * A folder that appears complete or not at all. Files are written to a hidden sibling, which {@link OutputFolder.commit}
 * renames. {@link OutputFolder.discard} and the stop signals remove it, and the parents that were created for it, as far
 * as they are empty.
 */
export class OutputFolder {
  /** Final path of the folder. */
  readonly path: string;
  readonly #work: WorkFolder;
  readonly #options: OutputFolderOptions;
  /** The topmost parent folder that had to be created, if any. */
  readonly #madeParent: string | undefined;
  readonly #stopListening: () => void;
  readonly #written = new Map<string, WrittenFile>();

  private constructor(path: string, options: OutputFolderOptions) {
    this.path = path;
    this.#options = options;
    this.#work = workFolderFor(path);
    // Without a turn in between: a signal finds all of it, or nothing.
    this.#madeParent = mkdirSync(dirname(path), { recursive: true });
    try {
      mkdirSync(this.#work.path);
      mkdirSync(this.#work.fresh);
    } catch (error) {
      removeEmptyFolders(dirname(path), this.#madeParent);
      throw error;
    }
    this.#stopListening = removeOnInterrupt(() => {
      rmSync(this.#work.path, removal);
      removeEmptyFolders(dirname(this.path), this.#madeParent);
      options.interrupted?.();
    });
  }

  /**
   * Checks that the folder may be written, and creates the unfinished one.
   *
   * @throws {UsageError} as {@link checkOutput}; {OutputError} `output-unwritable`.
   */
  static async begin(path: string, options: OutputFolderOptions): Promise<OutputFolder> {
    const { target } = await checkOutput(path, options);
    return writing(target, () => new OutputFolder(target, options));
  }

  /** Path of the unfinished folder. */
  get partial(): string {
    return this.#work.fresh;
  }

  /** Absolute path of a file to write in the unfinished folder; creates its parent folder. */
  async pathFor(name: string): Promise<string> {
    const path = join(this.partial, name);
    await writing(this.path, () => mkdir(dirname(path), { recursive: true }));
    return path;
  }

  async write(name: string, contents: string | Uint8Array): Promise<void> {
    const path = await this.pathFor(name);
    await writing(this.path, () => writeFile(path, contents));
    const lasting = typeof contents === "string" ? lastingPart(name, contents) : contents;
    this.hashed(path, createHash("sha256").update(lasting).digest("hex"), Buffer.byteLength(lasting));
  }

  /** Copies a file's contents, but not its permissions. A link is copied as the file it points to. */
  async copy(from: string, name: string): Promise<void> {
    await this.write(name, await readFile(from));
  }

  /** Takes note of what is known of a file at a path of {@link OutputFolder.pathFor}, so that it is not read again. */
  hashed(path: string, sha256: string, bytes: number): void {
    const file = relative(this.partial, path).replaceAll("\\", "/");
    this.#written.set(file, { file, sha256, bytes });
  }

  /** Every file that was written so far, in the order of their names. */
  async files(): Promise<WrittenFile[]> {
    const names = filesIn(this.partial).toSorted();
    return Promise.all(names.map(async (name) => this.#written.get(name) ?? this.#measure(name)));
  }

  async #measure(file: string): Promise<WrittenFile> {
    const path = join(this.partial, file);
    return { file, sha256: await hashFile(path), bytes: (await stat(path)).size };
  }

  /** A temporary folder that goes with the unfinished one. */
  async scratch(): Promise<{ readonly path: string; remove(): Promise<void> }> {
    const path = this.#work.scratch;
    await writing(this.path, () => mkdir(path, { recursive: true }));
    return { path, remove: () => rm(path, removal) };
  }

  /** Runs an action that writes to the unfinished folder; if the disk refuses, the error names the folder. */
  async fill<T>(action: () => Promise<T>): Promise<T> {
    return writing(this.path, action);
  }

  /**
   * Moves the folder to its final path. With `force`, it takes the place of an old one: the files that Favor wrote into
   * that go, and everything else moves over.
   *
   * @throws {UsageError} as {@link checkOutput}, if somebody put a folder there meanwhile; {OutputError}
   * `output-unwritable`.
   */
  async commit(): Promise<void> {
    const { force } = this.#options;
    const isReplacing = force && isThere(this.path);
    const own = isReplacing ? (await checkOutput(this.path, this.#options)).own : new Set<string>();
    await writing(this.path, () => {
      if (isReplacing) replaceFolder(this.#work, this.path, own);
      else renameFirmly(this.partial, this.path);
      this.#stopListening();
    });
    // As in discard.
    await rm(this.#work.path, removal).catch(() => undefined);
  }

  /** Removes everything that was written. */
  async discard(): Promise<void> {
    this.#stopListening();
    // What cannot be removed now must not hide why: the next run removes it.
    await rm(this.#work.path, removal).catch(() => undefined);
    removeEmptyFolders(dirname(this.path), this.#madeParent);
  }
}
