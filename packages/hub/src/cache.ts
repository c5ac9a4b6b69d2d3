import type { Repository } from "./names/repository.ts";
import type { RemoteFile } from "./remote-file.ts";
import type { ByteRange } from "./transfer/ranges.ts";

/** A file found in a cache. */
export interface CachedFile<Location> {
  readonly location: Location;
  readonly size: number;
  /** The content hash that the file is stored under, when the cache knows it. */
  readonly etag?: string;
}

/**
 * Where downloads are kept. In Node a `Location` is a path in the Hugging Face cache, in browsers a `File`. Names
 * that reach a cache have been validated.
 */
export interface HubCache<Location> {
  /** The commit that a branch or tag named when it was last downloaded. */
  readRef(repository: Repository, revision: string): Promise<string | undefined>;
  /** Does nothing when the revision is the commit itself. */
  writeRef(repository: Repository, revision: string, commit: string): Promise<void>;

  /** The complete file list of a commit, if an earlier download stored it. */
  readTree(repository: Repository, commit: string): Promise<readonly RemoteFile[] | undefined>;
  writeTree(repository: Repository, commit: string, files: readonly RemoteFile[]): Promise<void>;

  /** A commit's file, complete as far as the cache can tell without hashing it. */
  find(repository: Repository, commit: string, path: string): Promise<CachedFile<Location> | undefined>;
  /** The paths that the cache holds of a commit. */
  list(repository: Repository, commit: string): Promise<readonly string[]>;

  /** The commits that the cache holds files of. */
  commits(repository: Repository): Promise<readonly string[]>;

  /** Whether the Hub once said that a commit has no such file. */
  isKnownMissing(repository: Repository, commit: string, path: string): Promise<boolean>;
  markMissing(repository: Repository, commit: string, path: string): Promise<void>;

  /** The size of a blob, or `undefined` when there is none. */
  blobSize(repository: Repository, etag: string): Promise<number | undefined>;
  /** Makes a commit's file show a blob. */
  link(
    repository: Repository,
    commit: string,
    path: string,
    blob: { etag: string; isNew: boolean },
  ): Promise<CachedFile<Location>>;

  /** The folder that shows a commit's files. */
  folder(repository: Repository, commit: string): string;
  /** Throws `HubStorageError` when `bytes` more cannot fit. */
  requireSpace(bytes: number): Promise<void>;
  /** Whether names that differ in case alone are one file here. */
  ignoresCase(): Promise<boolean>;

  /** Runs `work` while no other process that honours the lock downloads the same blob. */
  withLock<T>(
    repository: Repository,
    etag: string,
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
  ): Promise<T>;
  /** Opens the partial file of a blob, continuing an abandoned one unless `fresh`. */
  openPartial(repository: Repository, file: RemoteFile, fresh: boolean): Promise<PartialFile>;
}

/** What of a blob is on disk, and proof of its beginning. */
export interface Checkpoint {
  readonly done: readonly ByteRange[];
  /** `prefixDigest` is the running hash of the first `prefixBytes` bytes. */
  readonly prefixBytes: number;
  readonly prefixDigest: string;
}

/** A blob in the making; only {@link PartialFile.complete} makes it visible. */
export interface PartialFile {
  /** Where an earlier, interrupted download had got to. */
  readonly checkpoint: Checkpoint | undefined;
  /** Whether what was written can be read back: without, bytes must arrive in order. */
  readonly readable: boolean;
  /** Where the system has one: the number by which another thread can read the file. */
  readonly descriptor?: number;
  /** The caller leaves `bytes` as they are until the promise is settled. */
  write(position: number, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Fills `into` from there on; tells how many bytes there were. */
  read(position: number, into: Uint8Array<ArrayBuffer>): Promise<number>;
  /** Records progress, for a later process to continue from. */
  save(checkpoint: Checkpoint): Promise<void>;
  /** Moves the finished file to its place. */
  complete(): Promise<void>;
  /** Closes the file and leaves it for a later download to continue. */
  keep(): Promise<void>;
  /** Closes and deletes the file. */
  discard(): Promise<void>;
}
