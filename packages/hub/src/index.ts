export { AccessToken } from "./access-token.ts";
export { OpfsCache, type FileHandle, type FolderHandle } from "./browser/opfs-cache.ts";
export type { CachedFile, Checkpoint, HubCache, PartialFile } from "./cache.ts";
export {
  HubAccessError,
  HubIntegrityError,
  HubNameError,
  HubNetworkError,
  HubNotFoundError,
  HubOfflineError,
  HubResponseError,
  HubStorageError,
  type HubAccessCode,
  type HubIntegrityCode,
  type HubNetworkCode,
  type HubNotFoundCode,
  type HubStorageCode,
} from "./errors.ts";
export { Hub } from "./hub.ts";
export type { Patterns } from "./names/patterns.ts";
export { parseRepository, repositoryPath, type Repository, type RepositoryType } from "./names/repository.ts";
export type { FileRequest, HubOptions, Plan, PlannedFile, Snapshot, SnapshotRequest } from "./options.ts";
export type { RemoteFile } from "./remote-file.ts";
export type { Digest, DigestFactory } from "./transfer/digest.ts";
export type { HubEvent } from "./transfer/progress.ts";
export type { ByteRange } from "./transfer/ranges.ts";
export type { Fetch, FetchInit, FetchResponse } from "./transport/fetch.ts";
export type { RetryPolicy } from "./transport/retry.ts";
