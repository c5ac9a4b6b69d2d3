import { HubApi, type CallOptions } from "./api.ts";
import type { CachedFile, HubCache } from "./cache.ts";
import { HubNameError, HubStorageError } from "./errors.ts";
import { caseCollision, validateFilename } from "./names/filename.ts";
import { pathFilter } from "./names/patterns.ts";
import { parseRepository, validateRevision, type Repository } from "./names/repository.ts";
import type { FileRequest, HubOptions, Plan, PlannedFile, Snapshot, SnapshotRequest } from "./options.ts";
import type { RemoteFile } from "./remote-file.ts";
import { isSurvivable, notCached, Resolution, type ResolvedCommit, type Target } from "./resolution.ts";
import { portableDigest } from "./transfer/digest.ts";
import { fetchBlob } from "./transfer/fetch-blob.ts";
import { Progress } from "./transfer/progress.ts";
import type { Fetch } from "./transport/fetch.ts";
import { defaultRetryPolicy } from "./transport/retry.ts";
import { Transport } from "./transport/transport.ts";

/** The global `fetch`. A browser's own cache would keep every file a second time, and answer for the Hub. */
const uncachedFetch: Fetch = (url, init) => {
  const uncached = { ...init, cache: "no-store" } as const;
  return fetch(url, uncached);
};

/** Downloads from one endpoint into one cache. */
export class Hub<Location> {
  readonly #options: HubOptions<Location>;
  readonly #cache: HubCache<Location>;
  readonly #transport: Transport;
  readonly #api: HubApi;
  readonly #resolution: Resolution;

  /** @throws HubNameError when the endpoint is malformed */
  constructor(options: HubOptions<Location>) {
    this.#options = options;
    this.#cache = options.cache;
    this.#transport = new Transport({
      endpoint: options.endpoint ?? "https://huggingface.co",
      token: options.token,
      fetch: options.fetch ?? uncachedFetch,
      userAgent: options.userAgent,
      responseTimeoutMs: options.responseTimeoutMs ?? 10_000,
      stallTimeoutMs: options.stallTimeoutMs ?? 10_000,
      retry: { ...defaultRetryPolicy, ...options.retry },
    });
    this.#api = new HubApi(this.#transport, options.answerTimeoutMs);
    this.#resolution = new Resolution(this.#api, this.#cache, options.offline ?? false);
  }

  /**
   * Downloads one file into the cache. A file that is asked for by full commit hash and is there already costs no request.
   *
   * @param path in the repository, below `request.subfolder`
   * @returns where it is
   * @throws HubNameError, HubAccessError, HubNotFoundError, HubNetworkError, HubResponseError, HubIntegrityError,
   *   HubOfflineError, HubStorageError; the signal's reason
   */
  async file(repository: string | Repository, path: string, request: FileRequest = {}): Promise<Location> {
    const target = readTarget(repository, request);
    const fullPath = validateFilename(target.prefix + path);
    const call = callOptions(request);
    const commit = await this.#resolution.commit(target, call, new Progress(request.onEvent), async (at) => {
      return (await this.#find(target.repository, at, fullPath)) !== undefined;
    });
    if (commit.local || (commit.immutable && request.force !== true)) {
      const cached = await this.#find(target.repository, commit.hash, fullPath);
      if (cached !== undefined) return cached.location;
      if (commit.local) throw notCached(target, [fullPath], { cause: commit.cause });
    }
    let remote: RemoteFile;
    try {
      remote = await this.#resolution.remoteFile(target, commit.hash, fullPath, call);
    } catch (error) {
      const cached = isSurvivable(error) ? await this.#find(target.repository, commit.hash, fullPath) : undefined;
      if (cached === undefined || request.force === true) throw error;
      new Progress(request.onEvent).warn(`${(error as Error).message} The cached file ${fullPath} is used.`);
      return cached.location;
    }
    const progress = new Progress(request.onEvent, remote.size);
    const location = await this.#bring(target.repository, commit.hash, remote, request, progress);
    await this.#writeRef(target, commit.hash, progress);
    return location;
  }

  /**
   * Downloads a revision's files into the cache, or those that the patterns choose.
   *
   * The reference (`refs/main`) is written last: it never names a commit without files.
   *
   * @throws as {@link file}
   */
  async snapshot(repository: string | Repository, request: SnapshotRequest = {}): Promise<Snapshot<Location>> {
    const target = readTarget(repository, request);
    const call = callOptions(request);
    const chosen = selection(target.prefix, request);
    const progress = new Progress(request.onEvent);
    const { commit, tree } = await this.#listing(target, call, progress);
    let files: Map<string, Location>;
    if (commit.local || tree === undefined) {
      files = await this.#localFiles(target, commit.hash, chosen, commit.cause);
    } else {
      await unlessReadOnly(() => this.#cache.writeTree(target.repository, commit.hash, tree));
      files = await this.#bringAll(target, commit.hash, tree.filter(chosen), request);
      await this.#writeRef(target, commit.hash, progress);
    }
    const folder = this.#cache.folder(target.repository, commit.hash);
    return { repository: target.repository, commit: commit.hash, folder, files };
  }

  /**
   * Says what {@link snapshot} would do, and writes nothing (a dry run). If the Hub may not or cannot be asked and no
   * earlier download stored the commit's file list, the plan holds the files in the cache (see {@link Plan.isComplete}).
   *
   * @throws as {@link file}; HubOfflineError when the cache holds nothing of the commit
   */
  async plan(repository: string | Repository, request: SnapshotRequest = {}): Promise<Plan> {
    const target = readTarget(repository, request);
    const call = callOptions(request);
    const { commit, tree } = await this.#listing(target, call, new Progress(request.onEvent));
    const chosen = selection(target.prefix, request);
    const files =
      tree === undefined
        ? (await this.#cachedFiles(target, commit)).filter(chosen)
        : await Promise.all(
            tree.filter(chosen).map(async (file) => ({
              ...file,
              cached: await this.#isPresent(target.repository, commit.hash, file),
            })),
          );
    return {
      repository: target.repository,
      commit: commit.hash,
      isLocal: commit.local,
      isComplete: tree !== undefined,
      files,
      totalBytes: files.reduce((sum, file) => sum + file.size, 0),
      missingBytes: files.reduce((sum, file) => sum + (file.cached ? 0 : file.size), 0),
    };
  }

  /**
   * The commit that is meant and its file list, from the Hub where that is allowed and possible. Otherwise the commit is
   * local, and there may be no list.
   */
  async #listing(
    target: Target,
    call: CallOptions,
    progress: Progress,
  ): Promise<{ commit: ResolvedCommit; tree: readonly RemoteFile[] | undefined }> {
    const { repository } = target;
    const commit = await this.#resolution.commit(target, call, progress, async (at) => {
      return (await this.#cache.list(repository, at)).length > 0;
    });
    if (commit.local) return { commit, tree: await this.#cache.readTree(repository, commit.hash) };
    const isHeld = (await this.#cache.list(repository, commit.hash)).length > 0;
    try {
      return { commit, tree: await this.#resolution.tree(repository, commit.hash, call, isHeld) };
    } catch (error) {
      if (!isHeld || !isSurvivable(error)) throw error;
      progress.warn(`${(error as Error).message} The cached files of commit ${commit.hash} are used.`);
      return { commit: { ...commit, local: true, cause: error }, tree: undefined };
    }
  }

  /** What the cache holds of a commit. */
  async #cachedFiles(target: Target, { hash, cause }: ResolvedCommit): Promise<PlannedFile[]> {
    const files: PlannedFile[] = [];
    for (const path of await this.#cache.list(target.repository, hash)) {
      const cached = await this.#cache.find(target.repository, hash, path);
      // A link to a blob that is no longer there is no file.
      if (cached !== undefined) files.push({ path, size: cached.size, cached: true });
    }
    if (files.length === 0)
      throw notCached(target, [], { cause, commits: await this.#cache.commits(target.repository) });
    return files;
  }

  /** Records which commit a revision is, for offline use. Without it the download is as good. */
  async #writeRef({ repository, revision }: Target, commit: string, progress: Progress): Promise<void> {
    await unlessReadOnly(() => this.#cache.writeRef(repository, revision, commit), progress);
  }

  /** A cached file, unless its size is known to be wrong. */
  async #find(repository: Repository, commit: string, path: string): Promise<CachedFile<Location> | undefined> {
    const cached = await this.#cache.find(repository, commit, path);
    if (cached === undefined) return undefined;
    const tree = await this.#cache.readTree(repository, commit);
    const listed = tree?.find((file) => file.path === path);
    return listed !== undefined && listed.size !== cached.size ? undefined : cached;
  }

  async #isPresent(repository: Repository, commit: string, file: RemoteFile): Promise<boolean> {
    const cached = await this.#cache.find(repository, commit, file.path);
    return cached?.size === file.size || (await this.#cache.blobSize(repository, file.etag)) === file.size;
  }

  async #bring(
    repository: Repository,
    commit: string,
    file: RemoteFile,
    request: FileRequest,
    progress: Progress,
  ): Promise<Location> {
    const force = request.force ?? false;
    const cached = await this.#cache.find(repository, commit, file.path);
    if (!force && cached?.size === file.size) {
      progress.file(file.path, file.size, true);
      return cached.location;
    }
    const { connections = 4, parallelBytes = 64 * 2 ** 20, pieceBytes = 32 * 2 ** 20, digest } = this.#options;
    const isNew = await fetchBlob(this.#cache, {
      transport: this.#transport,
      digest: digest ?? portableDigest,
      repository,
      commit,
      file,
      force,
      connections,
      parallelBytes,
      pieceBytes,
      signal: request.signal,
      progress,
    });
    const linked = await this.#cache.link(repository, commit, file.path, { etag: file.etag, isNew });
    progress.file(file.path, file.size, !isNew);
    return linked.location;
  }

  async #bringAll(
    target: Target,
    commit: string,
    files: readonly RemoteFile[],
    request: SnapshotRequest,
  ): Promise<Map<string, Location>> {
    const { repository } = target;
    for (const { path } of files) validateFilename(path);
    const collision = caseCollision(files.map(({ path }) => path));
    if (collision !== undefined && (await this.#cache.ignoresCase())) {
      throw new HubNameError(
        `${JSON.stringify(collision[0])} and ${JSON.stringify(collision[1])} are one file on this disk, which ignores case. Leave one out with an ignore pattern, or use a cache on another disk.`,
        { collision },
      );
    }
    const present = await Promise.all(files.map((file) => this.#isPresent(repository, commit, file)));
    const missing = request.force === true ? files : files.filter((_, index) => !present[index]);
    // Two files with the same content are one blob.
    const distinct = new Map(missing.map(({ etag, size }) => [etag, size]));
    await this.#cache.requireSpace([...distinct.values()].reduce((sum, size) => sum + size, 0));

    const progress = new Progress(
      request.onEvent,
      missing.reduce((sum, { size }) => sum + size, 0),
    );
    if (files.length === 0) progress.warn("No file of the repository matches the patterns.");

    const stop = new AbortController();
    const onAbort = (): void => stop.abort(request.signal!.reason);
    if (request.signal?.aborted === true) onAbort();
    else request.signal?.addEventListener("abort", onAbort, { once: true });
    const locations = new Map<string, Location>();
    const queue = [...files];
    const workers = Array.from({ length: Math.max(1, request.concurrency ?? 4) }, async () => {
      for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
        stop.signal.throwIfAborted();
        locations.set(
          file.path,
          await this.#bring(repository, commit, file, { ...request, signal: stop.signal }, progress),
        );
      }
    });
    try {
      await Promise.all(workers);
    } catch (error) {
      stop.abort(error);
      await Promise.allSettled(workers);
      throw error;
    } finally {
      request.signal?.removeEventListener("abort", onAbort);
    }
    return new Map(files.map(({ path }) => [path, locations.get(path)!]));
  }

  async #localFiles(
    target: Target,
    commit: string,
    chosen: (file: { path: string }) => boolean,
    cause: unknown,
  ): Promise<Map<string, Location>> {
    const { repository } = target;
    const listed: readonly { path: string; size?: number }[] =
      (await this.#cache.readTree(repository, commit)) ??
      (await this.#cache.list(repository, commit)).map((path) => ({ path }));
    const files = new Map<string, Location>();
    const missing: string[] = [];
    for (const { path, size } of listed.filter(chosen)) {
      const cached = await this.#cache.find(repository, commit, path);
      if (cached === undefined || (size !== undefined && size !== cached.size)) missing.push(path);
      else files.set(path, cached.location);
    }
    if (missing.length > 0 || listed.length === 0) {
      const commits = missing.length > 0 ? [] : await this.#cache.commits(repository);
      throw notCached(target, missing, { cause, commits });
    }
    return files;
  }
}

/** Writes a part of the cache that only later requests profit from: a cache that cannot be written can still be read. */
async function unlessReadOnly(write: () => Promise<void>, progress?: Progress): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!(error instanceof HubStorageError)) throw error;
    progress?.warn(`${error.message} All files are there, but offline this revision will not be found by its name.`);
  }
}

function readTarget(repository: string | Repository, request: FileRequest): Target {
  const subfolder = request.subfolder?.replace(/\/+$/, "") ?? "";
  return {
    repository: parseRepository(repository),
    revision: validateRevision(request.revision ?? "main"),
    prefix: subfolder === "" ? "" : `${validateFilename(subfolder, "Subfolder")}/`,
  };
}

function callOptions(request: FileRequest): CallOptions {
  const progress = new Progress(request.onEvent);
  return { signal: request.signal, onRetry: (notice) => progress.retry(undefined, notice) };
}

/** Which files a request chooses: those below its subfolder whose path there passes the patterns. */
function selection(prefix: string, request: SnapshotRequest): (file: { path: string }) => boolean {
  const passes = pathFilter(request.allow, request.ignore);
  return ({ path }) => path.startsWith(prefix) && passes(path.slice(prefix.length));
}
