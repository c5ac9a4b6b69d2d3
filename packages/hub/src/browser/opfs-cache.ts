import type { CachedFile, HubCache, PartialFile } from "../cache.ts";
import { HubStorageError } from "../errors.ts";
import { isCommit, repositoryFolder, type Repository } from "../names/repository.ts";
import { isEtag, type RemoteFile } from "../remote-file.ts";
import { formatTree, parseTree } from "../tree-listing.ts";

/** The part of the standard's `FileSystemDirectoryHandle` that is used. */
export interface FolderHandle {
  getDirectoryHandle(name: string, options: { create: boolean }): Promise<FolderHandle>;
  getFileHandle(name: string, options: { create: boolean }): Promise<FileHandle>;
  removeEntry(name: string): Promise<void>;
  entries(): AsyncIterable<[string, { readonly kind: string }]>;
}

/** The part of the standard's `FileSystemFileHandle` that is used. */
export interface FileHandle {
  getFile(): Promise<File>;
  createWritable(): Promise<{
    write(data: string | { type: "write"; position: number; data: Uint8Array<ArrayBuffer> }): Promise<void>;
    truncate(size: number): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
}

/**
 * The cache of a browser, in the origin private file system: the layout of huggingface_hub, where a file below
 * `snapshots` holds the name of its blob in place of a link. A `Location` is a `File` that reads from disk.
 *
 * A download that is interrupted starts over, and large files come over one connection: the browser shows a file's
 * new bytes only when it is closed.
 */
export class OpfsCache implements HubCache<File> {
  readonly #root: () => Promise<FolderHandle>;

  /** @param root the folder to use; by default `huggingface` in the origin's private file system */
  constructor(root?: FolderHandle) {
    this.#root = async () =>
      root ?? (await (await navigator.storage.getDirectory()).getDirectoryHandle("huggingface", { create: true }));
  }

  async readRef(repository: Repository, revision: string): Promise<string | undefined> {
    const commit = (await this.#readText(repository, "refs", ...revision.split("/")))?.trim();
    return commit !== undefined && isCommit(commit) ? commit : undefined;
  }

  async writeRef(repository: Repository, revision: string, commit: string): Promise<void> {
    if (revision !== commit) await this.#writeText(commit, repository, "refs", ...revision.split("/"));
  }

  async readTree(repository: Repository, commit: string): Promise<readonly RemoteFile[] | undefined> {
    const text = await this.#readText(repository, "trees", `${commit}.json`);
    return text === undefined ? undefined : parseTree(text);
  }

  async writeTree(repository: Repository, commit: string, files: readonly RemoteFile[]): Promise<void> {
    await this.#writeText(formatTree(files), repository, "trees", `${commit}.json`);
  }

  async find(repository: Repository, commit: string, path: string): Promise<CachedFile<File> | undefined> {
    const etag = await this.#readText(repository, "snapshots", commit, ...path.split("/"));
    if (etag === undefined || !isEtag(etag)) return undefined;
    const location = await this.#file(repository, "blobs", etag);
    return location === undefined ? undefined : { location, size: location.size, etag };
  }

  async list(repository: Repository, commit: string): Promise<readonly string[]> {
    const folder = await this.#folder(repository, ["snapshots", commit], false);
    return folder === undefined ? [] : (await paths(folder)).toSorted();
  }

  async commits(repository: Repository): Promise<readonly string[]> {
    const folder = await this.#folder(repository, ["snapshots"], false);
    const names: string[] = [];
    if (folder !== undefined) for await (const [name] of folder.entries()) names.push(name);
    return names.filter(isCommit).toSorted();
  }

  async isKnownMissing(repository: Repository, commit: string, path: string): Promise<boolean> {
    return (await this.#file(repository, ".no_exist", commit, ...path.split("/"))) !== undefined;
  }

  async markMissing(repository: Repository, commit: string, path: string): Promise<void> {
    await this.#writeText("", repository, ".no_exist", commit, ...path.split("/"));
  }

  async blobSize(repository: Repository, etag: string): Promise<number | undefined> {
    return (await this.#file(repository, "blobs", etag))?.size;
  }

  async link(
    repository: Repository,
    commit: string,
    path: string,
    { etag }: { etag: string },
  ): Promise<CachedFile<File>> {
    await this.#writeText(etag, repository, "snapshots", commit, ...path.split("/"));
    const location = (await this.#file(repository, "blobs", etag))!;
    return { location, size: location.size, etag };
  }

  folder(repository: Repository, commit: string): string {
    return `${repositoryFolder(repository)}/snapshots/${commit}`;
  }

  async requireSpace(bytes: number): Promise<void> {
    const { quota, usage } = (await globalThis.navigator?.storage?.estimate?.()) ?? {};
    if (quota === undefined || usage === undefined || bytes <= quota - usage) return;
    throw new HubStorageError(
      "hub-disk-full",
      `${bytes} bytes are needed and the browser grants ${quota - usage} more. Free some space, or ask for persistent storage.`,
      { neededBytes: bytes, freeBytes: quota - usage },
    );
  }

  async ignoresCase(): Promise<boolean> {
    // Each browser maps names in its own way; the File System Standard leaves them exact.
    return false;
  }

  async withLock<T>(
    repository: Repository,
    etag: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    const locks = globalThis.navigator?.locks;
    if (locks === undefined) return work();
    const name = `favor-hub ${repositoryFolder(repository)} ${etag}`;
    return (await locks.request(name, signal === undefined ? {} : { signal }, work)) as T;
  }

  async openPartial(repository: Repository, file: RemoteFile): Promise<PartialFile> {
    const folder = (await this.#folder(repository, ["blobs"], true))!;
    const handle = await folder.getFileHandle(file.etag, { create: true });
    // Writes go to a copy that replaces the file when it is closed, and only then.
    const stream = await handle.createWritable();
    const abandon = async (): Promise<void> => {
      await stream.abort();
      // createWritable needs the file to exist: an empty one under a hash must not stay.
      if ((await handle.getFile()).size === 0) await folder.removeEntry(file.etag);
    };
    return {
      checkpoint: undefined,
      readable: false,
      write: (position, bytes) => stream.write({ type: "write", position, data: bytes }),
      read: () => Promise.reject(new TypeError("What is being written cannot be read back in a browser.")),
      save: async () => undefined,
      complete: async () => {
        await stream.truncate(file.size);
        await stream.close();
      },
      keep: abandon,
      discard: abandon,
    };
  }

  async #folder(repository: Repository, names: readonly string[], create: boolean): Promise<FolderHandle | undefined> {
    let folder = await this.#root();
    try {
      for (const name of [repositoryFolder(repository), ...names]) {
        folder = await folder.getDirectoryHandle(name, { create });
      }
      return folder;
    } catch (error) {
      if (!create && isAbsent(error)) return undefined;
      throw error;
    }
  }

  async #file(repository: Repository, ...names: string[]): Promise<File | undefined> {
    const folder = await this.#folder(repository, names.slice(0, -1), false);
    if (folder === undefined) return undefined;
    try {
      return await (await folder.getFileHandle(names.at(-1)!, { create: false })).getFile();
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  async #readText(repository: Repository, ...names: string[]): Promise<string | undefined> {
    return (await this.#file(repository, ...names))?.text();
  }

  async #writeText(text: string, repository: Repository, ...names: string[]): Promise<void> {
    const folder = (await this.#folder(repository, names.slice(0, -1), true))!;
    const stream = await (await folder.getFileHandle(names.at(-1)!, { create: true })).createWritable();
    await stream.write(text);
    await stream.close();
  }
}

function isAbsent(error: unknown): boolean {
  const name = error instanceof Error ? error.name : undefined;
  return name === "NotFoundError" || name === "TypeMismatchError";
}

async function paths(folder: FolderHandle, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const [name, handle] of folder.entries()) {
    if (handle.kind === "file") found.push(prefix + name);
    else found.push(...(await paths(await folder.getDirectoryHandle(name, { create: false }), `${prefix}${name}/`)));
  }
  return found;
}
