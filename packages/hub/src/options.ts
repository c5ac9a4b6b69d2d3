import type { AccessToken } from "./access-token.ts";
import type { HubCache } from "./cache.ts";
import type { Patterns } from "./names/patterns.ts";
import type { Repository } from "./names/repository.ts";
import type { RemoteFile } from "./remote-file.ts";
import type { DigestFactory } from "./transfer/digest.ts";
import type { HubEvent } from "./transfer/progress.ts";
import type { Fetch } from "./transport/fetch.ts";
import type { RetryPolicy } from "./transport/retry.ts";

/** How a {@link Hub} is reached and where it keeps files. */
export interface HubOptions<Location> {
  readonly cache: HubCache<Location>;
  /** `https://huggingface.co` by default. */
  readonly endpoint?: string | undefined;
  readonly token?: AccessToken | undefined;
  /** The global `fetch` by default. */
  readonly fetch?: Fetch | undefined;
  /** Hashes in plain JavaScript by default. */
  readonly digest?: DigestFactory | undefined;
  /** Never ask the Hub: only what is in the cache. */
  readonly offline?: boolean | undefined;
  /** Milliseconds to wait for an answer, 10 000 by default. */
  readonly responseTimeoutMs?: number | undefined;
  /** Milliseconds that a download may pause, 10 000 by default. */
  readonly stallTimeoutMs?: number | undefined;
  /** Milliseconds that one answer of the API may take with all its pages, 300 000 by default. */
  readonly answerTimeoutMs?: number | undefined;
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly userAgent?: string | undefined;
  /** Parallel requests for one large file, 4 by default. */
  readonly connections?: number | undefined;
  /** Size in bytes from which a file counts as large; 64 MiB by default. */
  readonly parallelBytes?: number | undefined;
  /** Bytes of one request for a part of a large file, 32 MiB by default. */
  readonly pieceBytes?: number | undefined;
}

/** Which revision, and how to download it. */
export interface FileRequest {
  /** Branch, tag or commit; `main` by default. */
  readonly revision?: string | undefined;
  /** A folder of the repository that paths and patterns are below. */
  readonly subfolder?: string | undefined;
  /** Download again even what is in the cache. */
  readonly force?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: ((event: HubEvent) => void) | undefined;
}

/** Which files of a revision: shell patterns as in huggingface_hub, where `*` also matches `/`. */
export interface SnapshotRequest extends FileRequest {
  readonly allow?: Patterns | undefined;
  readonly ignore?: Patterns | undefined;
  /** Files at a time, 4 by default. */
  readonly concurrency?: number | undefined;
}

/** A file of a plan. */
export interface PlannedFile extends Pick<RemoteFile, "path" | "size"> {
  readonly cached: boolean;
  /** Its content hash, unless the file was only found in the cache. */
  readonly etag?: string;
}

/** What a snapshot would download. */
export interface Plan {
  readonly repository: Repository;
  readonly commit: string;
  /** Only the cache may be used: offline by choice, or because the Hub cannot be reached. */
  readonly isLocal: boolean;
  /** Whether `files` are chosen among all files of the commit, not only among those in the cache. */
  readonly isComplete: boolean;
  readonly files: readonly PlannedFile[];
  readonly totalBytes: number;
  /** Bytes that are not in the cache. */
  readonly missingBytes: number;
}

/** Files of a commit in the cache. */
export interface Snapshot<Location> {
  readonly repository: Repository;
  readonly commit: string;
  /** The folder that shows them under their paths. */
  readonly folder: string;
  readonly files: ReadonlyMap<string, Location>;
}
