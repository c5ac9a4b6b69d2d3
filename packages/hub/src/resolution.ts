import type { CallOptions, HubApi } from "./api.ts";
import type { HubCache } from "./cache.ts";
import {
  HubAccessError,
  HubNetworkError,
  HubNotFoundError,
  HubOfflineError,
  HubResponseError,
  HubStorageError,
} from "./errors.ts";
import { nearestNames, nearestSentence } from "./names/nearest.ts";
import { isCommit, repositoryPath, type Repository } from "./names/repository.ts";
import type { RemoteFile } from "./remote-file.ts";
import type { Progress } from "./transfer/progress.ts";
import { defaultRetryPolicy } from "./transport/retry.ts";

/** What a request is about, its names checked. */
export interface Target {
  readonly repository: Repository;
  readonly revision: string;
  /** The subfolder with a slash at its end, or nothing. */
  readonly prefix: string;
}

/** The commit that a revision stands for. */
export interface ResolvedCommit {
  readonly hash: string;
  /** The revision was this hash: its files never change. */
  readonly immutable: boolean;
  /** Only the cache may be used: offline by choice, or the Hub cannot be reached (`cause`). */
  readonly local: boolean;
  readonly cause?: unknown;
}

/** How many names a suggestion is searched among. */
const maxCandidates = 5000;
const once = { ...defaultRetryPolicy, retries: 0 };

/** Finds out which commit and which file are meant, asking the Hub where allowed and the cache otherwise. */
export class Resolution {
  readonly #api: HubApi;
  readonly #cache: HubCache<unknown>;
  readonly #offline: boolean;

  constructor(api: HubApi, cache: HubCache<unknown>, offline: boolean) {
    this.#api = api;
    this.#cache = cache;
    this.#offline = offline;
  }

  /**
   * The commit of a revision. When the Hub cannot be reached but an earlier download of that revision is in the
   * cache, that commit is used, with a warning.
   *
   * @param isUseful whether the cache holds what is wanted of a commit
   * @throws HubOfflineError, HubNotFoundError (with nearest names), HubAccessError, HubNetworkError
   */
  async commit(
    target: Target,
    call: CallOptions,
    progress: Progress,
    isUseful: (commit: string) => Promise<boolean>,
  ): Promise<ResolvedCommit> {
    const { repository, revision } = target;
    if (isCommit(revision)) return { hash: revision, immutable: true, local: this.#offline };
    const known = (await this.#cache.readRef(repository, revision)) ?? (await this.#abbreviated(repository, revision));
    if (this.#offline) {
      if (known === undefined) throw notCached(target, [], { commits: await this.#cache.commits(repository) });
      return { hash: known, immutable: false, local: true };
    }
    const fallback = known !== undefined && (await isUseful(known)) ? known : undefined;
    try {
      // If there is a fallback, nobody wants to wait for five attempts.
      const policy = fallback === undefined ? {} : { policy: once };
      const hash = await this.#api.commitOf(repository, revision, { ...call, ...policy });
      return { hash, immutable: false, local: false };
    } catch (error) {
      if (fallback === undefined || !isSurvivable(error)) throw await this.#suggest(target, error);
      progress.warn(
        `${(error as Error).message} The cached commit ${fallback} of ${repositoryPath(repository)} is used.`,
      );
      return { hash: fallback, immutable: false, local: true, cause: error };
    }
  }

  /** The commit in the cache that an abbreviated hash means, if it is the only one. */
  async #abbreviated(repository: Repository, revision: string): Promise<string | undefined> {
    if (!/^[0-9a-f]{7,39}$/.test(revision)) return undefined;
    const found = (await this.#cache.commits(repository)).filter((commit) => commit.startsWith(revision));
    return found.length === 1 ? found[0] : undefined;
  }

  /**
   * Every file of a commit: as an earlier download listed them, or from the Hub.
   *
   * @param hasFallback whether the caller can do without: then there is one attempt only
   */
  async tree(
    repository: Repository,
    commit: string,
    call: CallOptions,
    hasFallback: boolean,
  ): Promise<readonly RemoteFile[]> {
    const known = await this.#cache.readTree(repository, commit);
    if (known !== undefined) return known;
    const files: RemoteFile[] = [];
    try {
      const options = hasFallback ? { ...call, policy: once } : call;
      for await (const file of this.#api.tree(repository, commit, options)) files.push(file);
    } catch (error) {
      // A commit that was given by its hash is asked for here first.
      throw await this.#suggest({ repository, revision: commit }, error);
    }
    return files;
  }

  /**
   * One file of a commit.
   *
   * @throws HubNotFoundError "hub-file-not-found" with the nearest names; the cache remembers that it is missing
   */
  async remoteFile(target: Target, commit: string, path: string, call: CallOptions): Promise<RemoteFile> {
    const { repository } = target;
    if (!(await this.#cache.isKnownMissing(repository, commit, path))) {
      const tree = await this.#cache.readTree(repository, commit);
      const listed =
        tree ??
        (await this.#api.files(repository, commit, [path], call).catch(async (error: unknown) => {
          throw await this.#suggest({ repository, revision: commit }, error);
        }));
      const file = listed.find((candidate) => candidate.path === path);
      if (file !== undefined) return file;
      await this.#cache.markMissing(repository, commit, path).catch((error: unknown) => {
        // Only the next request is slower for it.
        if (!(error instanceof HubStorageError)) throw error;
      });
    }
    const nearest = nearestNames(path, await this.#paths(repository, commit));
    throw new HubNotFoundError(
      "hub-file-not-found",
      `${repositoryPath(repository)} has no file ${JSON.stringify(path)} at revision ${JSON.stringify(target.revision)}.${nearestSentence(nearest)}`,
      { repository: repositoryPath(repository), revision: target.revision, path, nearest },
    );
  }

  /** Names for a suggestion: a failure to get them must not hide the error that they illustrate. */
  async #paths(repository: Repository, commit: string): Promise<string[]> {
    const paths: string[] = [];
    try {
      const known = await this.#cache.readTree(repository, commit);
      if (known !== undefined) return known.map(({ path }) => path);
      for await (const { path } of this.#api.tree(repository, commit, { policy: once })) {
        if (paths.push(path) >= maxCandidates) break;
      }
    } catch {
      return paths;
    }
    return paths;
  }

  /** The error with what may have been meant; a failure to find out must not hide it. */
  async #suggest({ repository, revision }: Pick<Target, "repository" | "revision">, error: unknown): Promise<unknown> {
    if (!(error instanceof HubNotFoundError)) return error;
    const { code, message, details } = error;
    if (code === "hub-file-not-found") return error;
    if (code === "hub-repository-not-found") {
      const found = await this.#api.search(repository, { policy: once }).catch(() => []);
      const nearest = nearestNames(repository.id, found);
      return new HubNotFoundError(code, message + nearestSentence(nearest), { ...details, nearest });
    }
    const revisions = await this.#api.revisions(repository, { policy: once }).catch(() => []);
    const nearest = nearestNames(revision, revisions);
    const sentence = nearest.length > 0 ? nearestSentence(nearest) : revisionsSentence(revisions);
    return new HubNotFoundError(code, message + sentence, {
      ...details,
      nearest,
      revisions: revisions.slice(0, maxListed),
    });
  }
}

/** Names that an error lists in `details`. */
const maxListed = 100;

/** All branches and tags, if none has a similar name. */
function revisionsSentence(revisions: readonly string[]): string {
  if (revisions.length === 0) return "";
  const shown = revisions.slice(0, 6).map((name) => JSON.stringify(name));
  const more = revisions.length > 6 ? ` and ${revisions.length - 6} more` : "";
  return ` Its branches and tags: ${shown.join(", ")}${more}.`;
}

/**
 * Whether an answer of the Hub is one that the cache helps out with, as it does for huggingface_hub: no connection, a
 * proxy's or hotel's own page, a failing server, access withdrawn, a repository deleted. A revision that does not exist
 * is a mistake of whoever asks.
 */
export function isSurvivable(error: unknown): boolean {
  if (error instanceof HubNotFoundError) return error.code === "hub-repository-not-found";
  return error instanceof HubNetworkError || error instanceof HubResponseError || error instanceof HubAccessError;
}

/**
 * The cache lacks what only the Hub could give.
 *
 * @param why.cause why the Hub cannot be asked; `undefined`: it may not be
 * @param why.commits the commits that the cache does hold, for a hint
 */
export function notCached(
  target: Target,
  missing: readonly string[],
  { cause, commits = [] }: { readonly cause?: unknown; readonly commits?: readonly string[] } = {},
): HubOfflineError {
  const name = repositoryPath(target.repository);
  const what =
    missing.length === 0
      ? `${name} at revision ${JSON.stringify(target.revision)}`
      : `${missing
          .slice(0, 3)
          .map((path) => JSON.stringify(path))
          .join(", ")}${missing.length > 3 ? ` and ${missing.length - 3} more` : ""} of ${name}`;
  const why =
    cause === undefined
      ? "and offline mode forbids to ask the Hub. Unset HF_HUB_OFFLINE and run once with a connection."
      : "and the Hub cannot be reached. Run again with a connection.";
  const others =
    commits.length === 0 ? "" : ` The cache does hold ${commits.slice(0, 3).join(", ")}: give one as revision.`;
  return new HubOfflineError(
    `The cache does not hold ${what}, ${why}${others}`,
    { repository: name, revision: target.revision, missing: missing.slice(0, 100) },
    cause,
  );
}
