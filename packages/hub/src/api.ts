import { datasetInfo, listFiles, listModels, modelInfo, pathsInfo, spaceInfo } from "@huggingface/hub";

import { HubNetworkError, HubResponseError } from "./errors.ts";
import { isCommit, repositoryPath, type Repository, type RepositoryType } from "./names/repository.ts";
import { isEtag, type RemoteFile } from "./remote-file.ts";
import { shownUrl } from "./transport/fetch.ts";
import type { RetryNotice, RetryPolicy } from "./transport/retry.ts";
import type { Subject } from "./transport/refusal.ts";
import type { HubRequest, Transport } from "./transport/transport.ts";

/** Bounds on what a server may make us read. */
const maxAnswerBytes = 64 * 2 ** 20;
const maxFiles = 1_000_000;
const maxPages = 20_000;
/** The time for one answer of the API with all its pages, in milliseconds: 5 minutes. */
const maxAnswerMs = 300_000;
/** Where the Hub's own page links point even when a mirror serves them. */
const publicHub = "https://huggingface.co";

/** How one call may be watched, stopped and retried. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly policy?: RetryPolicy | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/**
 * The Hub's API: which commit, which files. The requests are those of `@huggingface/hub`, sent through our
 * {@link Transport}, so that the token's rules, time limits, retries and errors are the same everywhere; its answers
 * are validated before they are used.
 */
export class HubApi {
  readonly #transport: Transport;
  readonly #answerMs: number;

  /** @param answerMs how long one answer may take, with all its pages, in milliseconds; 5 minutes by default */
  constructor(transport: Transport, answerMs: number = maxAnswerMs) {
    this.#transport = transport;
    this.#answerMs = answerMs;
  }

  /**
   * The commit that a revision names.
   *
   * @throws HubNotFoundError, HubAccessError, HubNetworkError, HubResponseError
   */
  async commitOf(repository: Repository, revision: string, options: CallOptions = {}): Promise<string> {
    const parameters = { name: repository.id, revision, additionalFields: ["sha" as const] };
    const call = this.#call({ repository, revision }, options);
    const read: Record<RepositoryType, () => Promise<{ sha: string }>> = {
      model: () => modelInfo({ ...parameters, ...call }),
      dataset: () => datasetInfo({ ...parameters, ...call }),
      space: () => spaceInfo({ ...parameters, ...call }),
    };
    const { sha } = await answered(read[repository.type], repository);
    if (typeof sha !== "string" || !isCommit(sha)) {
      throw new HubResponseError(`The Hub names no commit for ${repositoryPath(repository)}. Check HF_ENDPOINT.`, {
        repository: repositoryPath(repository),
        revision,
      });
    }
    return sha;
  }

  /**
   * Every file of a commit, page by page, optionally below a folder.
   *
   * @throws HubNotFoundError, HubAccessError, HubNetworkError, HubResponseError (also when pages go in a circle or
   *   hold more than a million files)
   */
  async *tree(
    repository: Repository,
    commit: string,
    options: CallOptions & { readonly folder?: string } = {},
  ): AsyncGenerator<RemoteFile, void, undefined> {
    const path = options.folder?.split("/").map(encodeURIComponent).join("/");
    const entries = listFiles({
      repo: { type: repository.type, name: repository.id },
      revision: commit,
      recursive: true,
      ...(path === undefined ? {} : { path }),
      ...this.#call({ repository, revision: commit, path: options.folder }, options),
    });
    for (let count = 0; ; count++) {
      const { done, value } = await answered(() => entries.next(), repository);
      if (done === true) return;
      if (count >= maxFiles) {
        throw new HubResponseError(
          `${repositoryPath(repository)} lists more than ${maxFiles} files. Ask for a subfolder.`,
          { repository: repositoryPath(repository) },
        );
      }
      const file = remoteFile(value, repository);
      if (file !== undefined) yield file;
    }
  }

  /**
   * The given paths of a commit, as far as they are files.
   *
   * @throws HubNotFoundError, HubAccessError, HubNetworkError, HubResponseError
   */
  async files(
    repository: Repository,
    commit: string,
    paths: readonly string[],
    options: CallOptions = {},
  ): Promise<RemoteFile[]> {
    const entries = await answered(
      () =>
        pathsInfo({
          repo: { type: repository.type, name: repository.id },
          revision: commit,
          paths: [...paths],
          ...this.#call({ repository, revision: commit, path: paths[0] }, options),
        }),
      repository,
    );
    return entries.map((entry) => remoteFile(entry, repository)).filter((file) => file !== undefined);
  }

  /** Branches and tags, for suggestions. */
  async revisions(repository: Repository, options: CallOptions = {}): Promise<string[]> {
    const url = `${this.#transport.settings.endpoint}/api/${repository.type}s/${repository.id}/refs`;
    const late = AbortSignal.timeout(this.#answerMs);
    const answer = await this.#read(late, { url, subject: { repository }, ...options });
    const refs: unknown = JSON.parse(new TextDecoder().decode(answer.bytes));
    const lists = ["branches", "tags"].map((kind) => (refs as Record<string, unknown>)[kind]);
    return lists
      .flatMap((list) => (Array.isArray(list) ? (list as unknown[]) : []))
      .map((ref) => (ref as { name?: unknown }).name)
      .filter((name) => typeof name === "string");
  }

  /** Models with a similar name, for suggestions. */
  async search(repository: Repository, options: CallOptions = {}): Promise<string[]> {
    if (repository.type !== "model") return [];
    const names: string[] = [];
    const query = repository.id.slice(repository.id.indexOf("/") + 1);
    const found = listModels({ search: { query }, limit: 20, ...this.#call({ repository }, options) });
    for await (const { name } of found) names.push(name);
    return names;
  }

  /** What every call of `@huggingface/hub` gets: our endpoint, and a `fetch` that goes through our transport. */
  #call(subject: Subject, options: CallOptions): { hubUrl: string; fetch: typeof fetch } {
    const { endpoint } = this.#transport.settings;
    const visited = new Set<string>();
    const late = AbortSignal.timeout(this.#answerMs);
    return {
      hubUrl: endpoint,
      fetch: async (input, init) => {
        const url = this.#ownUrl(String(input instanceof Request ? input.url : input));
        if (visited.has(url) || visited.size >= maxPages) {
          throw new HubResponseError(
            `The Hub's list of ${repositoryPath(subject.repository)} ${visited.has(url) ? "goes in a circle" : `has more than ${maxPages} pages`}.`,
            { url: shownUrl(url) },
          );
        }
        visited.add(url);
        const { exchange, bytes } = await this.#read(late, {
          url,
          subject,
          method: init?.method === "POST" ? "POST" : "GET",
          headers: { accept: "application/json", ...(init?.body ? { "content-type": "application/json" } : {}) },
          ...(typeof init?.body === "string" ? { body: init.body } : {}),
          ...options,
        });
        const link = exchange.headers.get("link");
        return new Response(bytes, {
          status: exchange.status,
          headers: { "content-type": "application/json", ...(link === null ? {} : { link }) },
        });
      },
    };
  }

  /** Reads an answer until `late` aborts: pages that never end, and pages that never arrive, end as well. */
  async #read(late: AbortSignal, request: HubRequest): ReturnType<Transport["read"]> {
    const signal = request.signal === undefined ? late : AbortSignal.any([request.signal, late]);
    try {
      return await this.#transport.read({ ...request, signal }, maxAnswerBytes);
    } catch (error) {
      if (!late.aborted || request.signal?.aborted === true) throw error;
      throw new HubNetworkError(
        "hub-timeout",
        `The Hub's answer about ${repositoryPath(request.subject.repository)} did not end within ${this.#answerMs / 1000} s. ` +
          `Check HF_ENDPOINT and your proxy, or try again later.`,
        { details: { url: shownUrl(request.url) }, cause: error },
      );
    }
  }

  /** A link to a further page must lead to the endpoint itself; the public Hub's are rewritten for its mirrors. */
  #ownUrl(url: string): string {
    if (this.#transport.isEndpoint(url)) return url;
    const { origin, pathname, search } = new URL(url);
    if (origin === publicHub) return this.#transport.settings.endpoint + pathname + search;
    throw new HubNetworkError(
      "hub-redirect",
      `The Hub's list continues at another host, ${shownUrl(url)}; it is not followed. Check HF_ENDPOINT.`,
      { details: { url: shownUrl(url) } },
    );
  }
}

/** Runs a call of `@huggingface/hub`; what its parsing throws means that the answer was not what the Hub answers. */
async function answered<T>(call: () => Promise<T>, repository: Repository): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) {
      throw new HubResponseError(
        `The answer about ${repositoryPath(repository)} is not the Hub's API. Check HF_ENDPOINT and your proxy.`,
        { repository: repositoryPath(repository) },
        error,
      );
    }
    throw error;
  }
}

/** Checks one entry of a tree; folders give `undefined`. */
function remoteFile(entry: unknown, repository: Repository): RemoteFile | undefined {
  const { type, path, oid, size, lfs, xetHash } = (entry ?? {}) as Record<string, unknown>;
  if (type === "directory") return undefined;
  const large = (lfs ?? undefined) as { oid?: unknown; size?: unknown } | undefined;
  const etag = large === undefined ? oid : large.oid;
  const bytes = large === undefined ? size : large.size;
  const sound =
    typeof path === "string" &&
    typeof oid === "string" &&
    isEtag(oid) &&
    typeof etag === "string" &&
    isEtag(etag) &&
    typeof bytes === "number" &&
    Number.isSafeInteger(bytes) &&
    bytes >= 0 &&
    (large === undefined) === (etag.length === 40);
  if (!sound) {
    throw new HubResponseError(
      `The Hub lists a file of ${repositoryPath(repository)} without a usable path, size and content hash ` +
        `(${JSON.stringify(entry)?.slice(0, 200) ?? "nothing"}). Check HF_ENDPOINT.`,
      { repository: repositoryPath(repository) },
    );
  }
  return { path, oid, etag, size: bytes, ...(typeof xetHash === "string" ? { xetHash } : {}) };
}
