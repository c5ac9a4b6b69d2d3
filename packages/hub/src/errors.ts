import { FavorError } from "@favor/core";

/** Codes of {@link HubAccessError}. */
export type HubAccessCode = "hub-gated" | "hub-unauthorized" | "hub-forbidden";
/** Codes of {@link HubNotFoundError}. */
export type HubNotFoundCode = "hub-repository-not-found" | "hub-revision-not-found" | "hub-file-not-found";
/** Codes of {@link HubNetworkError}. */
export type HubNetworkCode =
  | "hub-unreachable"
  | "hub-timeout"
  | "hub-stalled"
  | "hub-interrupted"
  | "hub-rate-limited"
  | "hub-server-error"
  | "hub-redirect";
/** Codes of {@link HubStorageError}. */
export type HubStorageCode = "hub-disk-full" | "hub-not-writable" | "hub-storage";
/** Codes of {@link HubIntegrityError}. */
export type HubIntegrityCode = "hub-hash-mismatch" | "hub-content-changed";

type Details = Readonly<Record<string, unknown>>;

/** A repository id, revision, file name or endpoint that must not be used on any system. */
export class HubNameError extends FavorError<"hub-invalid-name"> {
  constructor(message: string, details: Details = {}) {
    super(message, { code: "hub-invalid-name", details });
  }
}

/** The Hub refuses access: the message says whose token was used, where it came from and what to do. */
export class HubAccessError extends FavorError<HubAccessCode> {
  constructor(code: HubAccessCode, message: string, details: Details = {}) {
    super(message, { code, details });
  }
}

/** No such repository, revision or file; `details.nearest` lists similar names when some are known. */
export class HubNotFoundError extends FavorError<HubNotFoundCode> {
  constructor(code: HubNotFoundCode, message: string, details: Details = {}) {
    super(message, { code, details });
  }
}

/** The network or the server failed after every retry. */
export class HubNetworkError extends FavorError<HubNetworkCode> {
  /** Whether another attempt may succeed. */
  readonly retryable: boolean;
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: HubNetworkCode,
    message: string,
    options: { retryable?: boolean; retryAfterMs?: number | undefined; details?: Details; cause?: unknown } = {},
  ) {
    super(message, { code, details: options.details ?? {}, cause: options.cause });
    this.retryable = options.retryable ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** The server answered something that is not the Hub's protocol. */
export class HubResponseError extends FavorError<"hub-response"> {
  constructor(message: string, details: Details = {}, cause?: unknown) {
    super(message, { code: "hub-response", details, cause });
  }
}

/** The bytes received are not the bytes that the repository's commit names. Nothing of them is kept. */
export class HubIntegrityError extends FavorError<HubIntegrityCode> {
  constructor(code: HubIntegrityCode, message: string, details: Details = {}) {
    super(message, { code, details });
  }
}

/** The Hub may not (offline mode) or cannot be asked, and the cache does not hold what is needed. */
export class HubOfflineError extends FavorError<"hub-offline"> {
  constructor(message: string, details: Details = {}, cause?: unknown) {
    super(message, { code: "hub-offline", details, cause });
  }
}

/** The cache could not be written: disk full (`details.neededBytes`), no permission, read-only, other. */
export class HubStorageError extends FavorError<HubStorageCode> {
  constructor(code: HubStorageCode, message: string, details: Details = {}, cause?: unknown) {
    super(message, { code, details, cause });
  }
}
