import type { HubCache } from "../cache.ts";
import { HubIntegrityError, HubResponseError, HubStorageError } from "../errors.ts";
import { repositoryPath, type Repository } from "../names/repository.ts";
import type { RemoteFile } from "../remote-file.ts";
import type { Transport } from "../transport/transport.ts";
import type { DigestFactory } from "./digest.ts";
import type { Progress } from "./progress.ts";
import { transfer } from "./transfer.ts";

/** Where a blob comes from and how it is brought. */
export interface BlobRequest {
  readonly transport: Transport;
  readonly digest: DigestFactory;
  readonly repository: Repository;
  readonly commit: string;
  readonly file: RemoteFile;
  /** Download it even when it is there. */
  readonly force: boolean;
  /** Parallel requests for files of at least `parallelBytes`. */
  readonly connections: number;
  readonly parallelBytes: number;
  readonly pieceBytes: number;
  readonly signal?: AbortSignal | undefined;
  readonly progress: Progress;
}

/**
 * Downloads a blob into the cache, unless it is there with the right size. Nothing becomes visible before its hash is
 * right: wrong content is deleted and asked for once more, whole and over one connection; wrong again is an error.
 *
 * @returns whether it was downloaded now
 * @throws HubIntegrityError and what {@link transfer} and the cache throw
 */
export function fetchBlob(cache: HubCache<unknown>, request: BlobRequest): Promise<boolean> {
  const { repository, file, signal, force } = request;
  return cache.withLock(repository, file.etag, signal, async () => {
    // Another process may have finished it while we waited for the lock.
    if (!force && (await cache.blobSize(repository, file.etag)) === file.size) return false;
    const failure = await attempt(cache, request, false);
    if (failure === undefined) return true;
    request.progress.warn(`${failure.message} Trying once more from the start.`);
    const again = await attempt(cache, request, true);
    if (again !== undefined) throw again;
    return true;
  });
}

/** @returns the reason why a fresh start may help, or `undefined` when the blob is in place */
async function attempt(
  cache: HubCache<unknown>,
  request: BlobRequest,
  again: boolean,
): Promise<HubIntegrityError | HubResponseError | undefined> {
  const { repository, commit, file, transport, progress, signal } = request;
  const partial = await cache.openPartial(repository, file, again || request.force);
  try {
    const present = partial.checkpoint?.done.reduce((sum, { start, end }) => sum + end - start, 0) ?? 0;
    await cache.requireSpace(file.size - present);
    const hash = await transfer({
      transport,
      file,
      url: resolveUrl(transport.settings.endpoint, repository, commit, file.path),
      subject: { repository, revision: commit, path: file.path },
      partial,
      digest: request.digest,
      connections: file.size >= request.parallelBytes ? request.connections : 1,
      pieceBytes: request.pieceBytes,
      plain: again,
      signal,
      onBytes: (bytes) => progress.bytes(file.path, file.size, bytes),
      onRetry: (notice) => progress.retry(file.path, notice),
    });
    if (hash === file.etag) {
      await partial.complete();
      return undefined;
    }
    await partial.discard();
    return new HubIntegrityError(
      "hub-hash-mismatch",
      `${file.path} of ${repositoryPath(repository)} arrived with hash ${hash} instead of ${file.etag}; it was deleted. A proxy or a mirror may have altered it.`,
      { path: file.path, expected: file.etag, found: hash },
    );
  } catch (error) {
    if (error instanceof HubIntegrityError || error instanceof HubResponseError) {
      await partial.discard();
      return error;
    }
    // A full disk gets its space back; anything else may be continued.
    if (error instanceof HubStorageError) await partial.discard();
    else await partial.keep();
    throw error;
  }
}

/** The address of a file's content at the endpoint. */
function resolveUrl(endpoint: string, repository: Repository, revision: string, path: string): string {
  const file = path.split("/").map(encodeURIComponent).join("/");
  return `${endpoint}/${repositoryPath(repository)}/resolve/${encodeURIComponent(revision)}/${file}`;
}
