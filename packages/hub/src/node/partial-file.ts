import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";

import type { Checkpoint, PartialFile } from "../cache.ts";
import type { RemoteFile } from "../remote-file.ts";
import type { ByteRange } from "../transfer/ranges.ts";
import { isGone, parseOwner, thisOwner } from "./owner.ts";
import { ifPresent, isHeld, writing, type FileSystem } from "./storage.ts";

/** What `<etag>.<8 digits>.incomplete.json` records about the bytes in `<etag>.<8 digits>.incomplete`. */
interface Journal extends Checkpoint {
  readonly version: 1;
  readonly etag: string;
  readonly size: number;
  /** The process that writes; `null` once it has let go. */
  readonly owner: unknown;
}

/**
 * A blob in the making, under a name that no other process uses. Its journal says which bytes are there; a process
 * that finds the files of one that is gone renames them to its own and continues. Files without a journal (those of
 * huggingface_hub) are left alone: their owner may be alive.
 */
export class BlobPartialFile implements PartialFile {
  readonly readable = true;
  readonly checkpoint: Checkpoint | undefined;
  readonly #fs: FileSystem;
  readonly #folder: string;
  readonly #file: RemoteFile;
  readonly #path: string;
  readonly #handle: FileHandle;
  #last: Checkpoint | undefined;
  #saving: Promise<void> = Promise.resolve();

  private constructor(
    fs: FileSystem,
    folder: string,
    file: RemoteFile,
    opened: { path: string; handle: FileHandle; checkpoint: Checkpoint | undefined },
  ) {
    this.#fs = fs;
    this.#folder = folder;
    this.#file = file;
    this.#path = opened.path;
    this.#handle = opened.handle;
    this.checkpoint = opened.checkpoint;
    this.#last = opened.checkpoint;
  }

  /**
   * Opens a partial file in a repository's `blobs` folder, which must exist.
   *
   * @param fresh delete what abandoned downloads of the blob left, instead of continuing it
   */
  static async open(fs: FileSystem, folder: string, file: RemoteFile, fresh: boolean): Promise<BlobPartialFile> {
    const path = join(folder, `${file.etag}.${crypto.randomUUID().slice(0, 8)}.incomplete`);
    return writing(folder, async () => {
      for (const abandoned of await abandonedFiles(fs, folder, file)) {
        const checkpoint = fresh ? undefined : await adopt(fs, abandoned, path, file);
        if (checkpoint !== undefined) {
          return new BlobPartialFile(fs, folder, file, { path, handle: await fs.open(path, "r+"), checkpoint });
        }
        await fs.rm(abandoned, { force: true });
        await fs.rm(`${abandoned}.json`, { force: true });
      }
      // The journal comes first: a file of ours without one could never be cleaned up.
      await fs.writeFile(`${path}.json`, journalText(file, nothing, thisOwner()));
      return new BlobPartialFile(fs, folder, file, { path, handle: await fs.open(path, "wx+"), checkpoint: undefined });
    });
  }

  get descriptor(): number {
    return this.#handle.fd;
  }

  async write(position: number, bytes: Uint8Array): Promise<void> {
    await writing(this.#folder, async () => {
      // A write may take less than everything, for instance when the disk fills up.
      for (let at = 0; at < bytes.length;) {
        const { bytesWritten } = await this.#handle.write(bytes, at, bytes.length - at, position + at);
        at += bytesWritten;
      }
    });
  }

  async read(position: number, into: Uint8Array): Promise<number> {
    return (await this.#handle.read(into, 0, into.length, position)).bytesRead;
  }

  save(checkpoint: Checkpoint): Promise<void> {
    this.#last = checkpoint;
    return this.#write(checkpoint, thisOwner());
  }

  async complete(): Promise<void> {
    await writing(this.#folder, async () => {
      await this.#close();
      // Not synchronised to the disk, like huggingface_hub: after a power failure the blob's size tells, on next use.
      const blob = join(this.#folder, this.#file.etag);
      await this.#fs.rename(this.#path, blob).catch(async (error: unknown) => {
        // Another process has finished the same blob and has it open.
        const there = isHeld(error) && (await ifPresent(this.#fs.stat(blob)))?.size === this.#file.size;
        if (!there) throw error;
        await this.#fs.rm(this.#path, { force: true });
      });
      await this.#fs.rm(`${this.#path}.json`, { force: true });
    });
  }

  async keep(): Promise<void> {
    await this.#close();
    if (this.#last === undefined) await this.#remove();
    else await this.#write(this.#last, null);
  }

  async discard(): Promise<void> {
    await this.#close();
    await this.#remove();
  }

  async #close(): Promise<void> {
    await this.#saving.catch(() => undefined);
    await this.#handle.close();
  }

  async #remove(): Promise<void> {
    await this.#fs.rm(this.#path, { force: true });
    await this.#fs.rm(`${this.#path}.json`, { force: true });
  }

  /** Replaces the journal in one step; one write at a time. */
  #write(checkpoint: Checkpoint, owner: unknown): Promise<void> {
    const text = journalText(this.#file, checkpoint, owner);
    const path = `${this.#path}.json`;
    this.#saving = this.#saving
      .catch(() => undefined)
      .then(() =>
        writing(this.#folder, async () => {
          await this.#fs.writeFile(`${path}.tmp`, text);
          await this.#fs.rename(`${path}.tmp`, path).catch((error: unknown) => {
            // Another process reads the journal: the next one takes its place.
            if (!isHeld(error)) throw error;
          });
        }),
      );
    return this.#saving;
  }
}

const nothing: Checkpoint = { done: [], prefixBytes: 0, prefixDigest: "" };

function journalText({ etag, size }: RemoteFile, checkpoint: Checkpoint, owner: unknown): string {
  const journal: Journal = { version: 1, etag, size, owner, ...checkpoint };
  return JSON.stringify(journal);
}

/** Partial files of a blob whose journal says that nobody writes them any more. */
async function abandonedFiles(fs: FileSystem, folder: string, file: RemoteFile): Promise<string[]> {
  const names = await fs.readdir(folder);
  const abandoned: string[] = [];
  for (const name of names) {
    if (!name.startsWith(`${file.etag}.`) || !name.endsWith(".incomplete.json")) continue;
    const journal = await readJournal(fs, join(folder, name));
    const owner = parseOwner(journal?.owner);
    if (journal === undefined || owner === undefined || isGone(owner)) {
      abandoned.push(join(folder, name.slice(0, -".json".length)));
    }
  }
  return abandoned;
}

/** Takes an abandoned file over by renaming it, which only one process can; `undefined` when it is of no use. */
async function adopt(
  fs: FileSystem,
  abandoned: string,
  path: string,
  file: RemoteFile,
): Promise<Checkpoint | undefined> {
  const journal = await readJournal(fs, `${abandoned}.json`);
  const length = (await ifPresent(fs.stat(abandoned)))?.size ?? 0;
  if (journal === undefined || !fits(journal, file, length)) return undefined;
  if ((await ifPresent(fs.rename(`${abandoned}.json`, `${path}.json`).then(() => true))) === undefined)
    return undefined;
  await fs.rename(abandoned, path);
  const { done, prefixBytes, prefixDigest } = journal;
  return { done, prefixBytes, prefixDigest };
}

function fits(journal: Journal, file: RemoteFile, length: number): boolean {
  const end = Math.min(length, file.size);
  return (
    journal.version === 1 &&
    journal.etag === file.etag &&
    journal.size === file.size &&
    length <= file.size &&
    Number.isSafeInteger(journal.prefixBytes) &&
    journal.prefixBytes >= 0 &&
    Array.isArray(journal.done) &&
    journal.done.length > 0 &&
    journal.done.every((range) => isRangeWithin(range, end))
  );
}

function isRangeWithin(value: unknown, end: number): value is ByteRange {
  const range = (value ?? {}) as { start?: unknown; end?: unknown };
  return (
    Number.isSafeInteger(range.start) &&
    Number.isSafeInteger(range.end) &&
    (range.start as number) >= 0 &&
    (range.start as number) < (range.end as number) &&
    (range.end as number) <= end
  );
}

async function readJournal(fs: FileSystem, path: string): Promise<Journal | undefined> {
  try {
    return JSON.parse(await fs.readFile(path, "utf8")) as Journal;
  } catch {
    return undefined;
  }
}
