import * as nodeFs from "node:fs/promises";
import { basename, dirname, join, relative, sep } from "node:path";

import type { CachedFile, HubCache, PartialFile } from "../cache.ts";
import { HubStorageError } from "../errors.ts";
import { isCommit, repositoryFolder, type Repository } from "../names/repository.ts";
import { isEtag, type RemoteFile } from "../remote-file.ts";
import { withLockFile } from "./lock.ts";
import { BlobPartialFile } from "./partial-file.ts";
import { bytesText } from "../bytes-text.ts";
import { ifPresent, ifReadable, isAbsent, systemCode, writing, type FileSystem } from "./storage.ts";
import { formatTree, parseTree } from "../tree-listing.ts";

/** Git's blob sha1 and the sha256 of nothing: the only content hashes that an empty blob may have. */
const emptyHashes = new Set([
  "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
]);

const cacheTag =
  "Signature: 8a477f597d28d172789f06886806bc55\n" +
  "# This file is a cache directory tag created by huggingface_hub.\n" +
  "# For information about cache directory tags, see:\n" +
  "#\thttps://bford.info/cachedir/\n";

/** System errors that say: no symbolic links here (no privilege on Windows, exFAT, some network disks). */
const noSymlinks = new Set(["EPERM", "EACCES", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EINVAL", "UNKNOWN"]);

/**
 * The cache of huggingface_hub, as Python reads and writes it:
 *
 * ```
 * models--org--name/blobs/<content hash>            the bytes
 *                  /refs/main                       a commit
 *                  /snapshots/<commit>/config.json  -> ../../blobs/<content hash>
 *                  /.no_exist/<commit>/vocab.txt    known to be missing
 *                  /trees/<commit>.json             the commit's file list
 * .locks/models--org--name/<content hash>.favor.lock
 * ```
 */
export class FileCache implements HubCache<string> {
  readonly #root: string;
  readonly #symlinks: boolean;
  readonly #fs: FileSystem;

  /**
   * @param root the folder that holds `models--...`
   * @param options.symlinks `false` for copies instead of symbolic links
   * @param options.fs for tests and unusual storage
   */
  constructor(root: string, options: { symlinks?: boolean; fs?: FileSystem } = {}) {
    this.#root = root;
    this.#symlinks = options.symlinks ?? true;
    this.#fs = options.fs ?? nodeFs;
  }

  async readRef(repository: Repository, revision: string): Promise<string | undefined> {
    // There is a folder here if both `a` and a branch `a/b` exist.
    const content = await this.#fs
      .readFile(this.#path(repository, "refs", revision), "utf8")
      .catch((error: unknown) => {
        if (isAbsent(error) || systemCode(error) === "EISDIR") return undefined;
        throw error;
      });
    const commit = content?.trim();
    return commit !== undefined && isCommit(commit) ? commit : undefined;
  }

  async writeRef(repository: Repository, revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.readRef(repository, revision)) === commit) return;
    await this.#replace(this.#path(repository, "refs", revision), commit);
  }

  async readTree(repository: Repository, commit: string): Promise<readonly RemoteFile[] | undefined> {
    const content = await ifReadable(this.#fs.readFile(this.#path(repository, "trees", `${commit}.json`), "utf8"));
    return content === undefined ? undefined : parseTree(content);
  }

  async writeTree(repository: Repository, commit: string, files: readonly RemoteFile[]): Promise<void> {
    const path = this.#path(repository, "trees", `${commit}.json`);
    if ((await this.readTree(repository, commit)) === undefined) await this.#replace(path, formatTree(files));
  }

  async find(repository: Repository, commit: string, path: string): Promise<CachedFile<string> | undefined> {
    const location = this.#path(repository, "snapshots", commit, path);
    const stats = await ifPresent(this.#fs.stat(location));
    if (stats === undefined || !stats.isFile()) return undefined;
    const name = basename(await this.#fs.realpath(location));
    const etag = isEtag(name) ? name : undefined;
    // A crash or another tool may leave an empty blob under the hash of something that is not empty.
    if (stats.size === 0 && etag !== undefined && !emptyHashes.has(etag)) return undefined;
    return { location, size: stats.size, ...(etag === undefined ? {} : { etag }) };
  }

  async list(repository: Repository, commit: string): Promise<readonly string[]> {
    const folder = this.folder(repository, commit);
    const entries = (await ifPresent(this.#fs.readdir(folder, { recursive: true, withFileTypes: true }))) ?? [];
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
      .toSorted();
  }

  async commits(repository: Repository): Promise<readonly string[]> {
    const names = await ifReadable(this.#fs.readdir(this.#path(repository, "snapshots")));
    return (names ?? []).filter(isCommit).toSorted();
  }

  async isKnownMissing(repository: Repository, commit: string, path: string): Promise<boolean> {
    const stats = await ifReadable(this.#fs.stat(this.#path(repository, ".no_exist", commit, path)));
    return stats?.isFile() ?? false;
  }

  async markMissing(repository: Repository, commit: string, path: string): Promise<void> {
    await this.#replace(this.#path(repository, ".no_exist", commit, path), "");
  }

  async blobSize(repository: Repository, etag: string): Promise<number | undefined> {
    return (await ifPresent(this.#fs.stat(this.#path(repository, "blobs", etag))))?.size;
  }

  async link(
    repository: Repository,
    commit: string,
    path: string,
    blob: { etag: string; isNew: boolean },
  ): Promise<CachedFile<string>> {
    const location = this.#path(repository, "snapshots", commit, path);
    const source = this.#path(repository, "blobs", blob.etag);
    const { size } = await writing(this.#root, () => this.#fs.stat(source));
    await writing(this.#root, async () => {
      await this.#fs.mkdir(dirname(location), { recursive: true });
      // Put in place by a rename: who looks at the same time sees the old file or the new one.
      const temporary = `${location}.${crypto.randomUUID().slice(0, 8)}.tmp`;
      if (await this.#symlink(relative(dirname(location), source), temporary)) {
        await this.#fs.rename(temporary, location);
      } else if (blob.isNew) {
        // As huggingface_hub does: without links a file is kept once, in the snapshot.
        await this.#fs.rename(source, location);
      } else {
        await this.#fs.copyFile(source, temporary);
        await this.#fs.rename(temporary, location);
      }
    });
    return { location, size, etag: blob.etag };
  }

  folder(repository: Repository, commit: string): string {
    return this.#path(repository, "snapshots", commit);
  }

  async requireSpace(bytes: number): Promise<void> {
    let folder = this.#root;
    let stats = await ifPresent(this.#fs.statfs(folder));
    while (stats === undefined && dirname(folder) !== folder) {
      folder = dirname(folder);
      stats = await ifPresent(this.#fs.statfs(folder));
    }
    const free = stats === undefined ? Infinity : stats.bavail * stats.bsize;
    if (bytes <= free) return;
    throw new HubStorageError(
      "hub-disk-full",
      `${bytesText(bytes)} are needed and ${bytesText(free)} are free on the disk of ${this.#root}. Free some space, or set HF_HUB_CACHE to a folder on another disk.`,
      { folder: this.#root, neededBytes: bytes, freeBytes: free },
    );
  }

  async ignoresCase(): Promise<boolean> {
    await this.#prepare();
    const [written, folded] = await Promise.all([
      ifPresent(this.#fs.stat(join(this.#root, "CACHEDIR.TAG"))),
      ifPresent(this.#fs.stat(join(this.#root, "cachedir.tag"))),
    ]);
    return written !== undefined && folded !== undefined && written.ino === folded.ino;
  }

  async withLock<T>(
    repository: Repository,
    etag: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T> {
    await this.#prepare();
    const path = join(this.#root, ".locks", repositoryFolder(repository), `${etag}.favor.lock`);
    return writing(this.#root, () => withLockFile(this.#fs, path, signal, work));
  }

  async openPartial(repository: Repository, file: RemoteFile, fresh: boolean): Promise<PartialFile> {
    const folder = this.#path(repository, "blobs");
    await writing(this.#root, () => this.#fs.mkdir(folder, { recursive: true }));
    return BlobPartialFile.open(this.#fs, folder, file, fresh);
  }

  #path(repository: Repository, ...names: string[]): string {
    return join(this.#root, repositoryFolder(repository), ...names);
  }

  /** Makes the root, with the tag by which backup programs know a cache. */
  async #prepare(): Promise<void> {
    await writing(this.#root, async () => {
      await this.#fs.mkdir(this.#root, { recursive: true });
      await this.#fs.writeFile(join(this.#root, "CACHEDIR.TAG"), cacheTag, { flag: "wx" }).catch((error: unknown) => {
        if (systemCode(error) !== "EEXIST") throw error;
      });
    });
  }

  async #symlink(target: string, path: string): Promise<boolean> {
    if (!this.#symlinks) return false;
    try {
      await this.#fs.symlink(target, path);
      return true;
    } catch (error) {
      if (noSymlinks.has(systemCode(error) ?? "")) return false;
      throw error;
    }
  }

  /** Writes a small file in one step. */
  async #replace(path: string, content: string): Promise<void> {
    await writing(this.#root, async () => {
      await this.#fs.mkdir(dirname(path), { recursive: true });
      const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
      await this.#fs.writeFile(temporary, content);
      await this.#fs.rename(temporary, path);
    });
  }
}
