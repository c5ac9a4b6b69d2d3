import type { AccessToken } from "../access-token.ts";
import { HubAccessError, HubNetworkError, HubNotFoundError, HubResponseError } from "../errors.ts";
import { repositoryPath, type Repository } from "../names/repository.ts";
import { shownUrl } from "./fetch.ts";
import { retryAfterMs } from "./retry.ts";

/** What a request was for: names for messages. */
export interface Subject {
  readonly repository: Repository;
  readonly revision?: string | undefined;
  readonly path?: string | undefined;
}

/** A response that is not a success, with what is needed to say why. */
export interface Refusal {
  readonly status: number;
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  readonly subject: Subject;
  readonly endpoint: string;
  /** The token that was configured, sent or not. */
  readonly token: AccessToken | undefined;
}

const passing = new Set([408, 425, 429, 500, 502, 503, 504]);

/** Turns a failed response into the error that tells a person what to do. */
export function refusalError(refusal: Refusal): Error {
  const { status, headers, subject, endpoint, token } = refusal;
  const name = repositoryPath(subject.repository);
  const page = `${endpoint}/${name}`;
  const errorCode = headers.get("x-error-code") ?? "";
  const said = (headers.get("x-error-message") ?? "").slice(0, 300);
  const serverSays = said === "" ? "" : ` The server says: ${JSON.stringify(token?.redact(said) ?? said)}.`;
  const tokenUsed =
    token === undefined
      ? "No access token was used: set HF_TOKEN, or run `hf auth login`."
      : `The access token from ${token.source} was used.`;
  const details = { status, url: shownUrl(refusal.url), repository: name, errorCode };

  if (passing.has(status)) {
    const limited = status === 429;
    return new HubNetworkError(
      limited ? "hub-rate-limited" : "hub-server-error",
      limited
        ? `The Hub limits the rate of requests (429).${token === undefined ? " Requests with an access token have a higher limit: set HF_TOKEN." : ""} Run again later.`
        : `The server answered ${status} for ${details.url}.${serverSays} Run again later.`,
      { retryable: true, retryAfterMs: retryAfterMs(headers), details },
    );
  }
  if (errorCode === "GatedRepo") {
    return new HubAccessError(
      "hub-gated",
      `${name} is gated. Accept its terms at ${page} with the account of your token. ${tokenUsed}`,
      { ...details, page, tokenSource: token?.source },
    );
  }
  if (errorCode === "RevisionNotFound") {
    return new HubNotFoundError(
      "hub-revision-not-found",
      `${name} has no revision ${JSON.stringify(subject.revision ?? "main")}.`,
      details,
    );
  }
  if (errorCode === "EntryNotFound") {
    return new HubNotFoundError(
      "hub-file-not-found",
      `${name} has no file ${JSON.stringify(subject.path ?? "")} at revision ${JSON.stringify(subject.revision ?? "main")}.`,
      details,
    );
  }
  if (status === 401 && /invalid (credentials|username)/i.test(said) && token !== undefined) {
    return new HubAccessError(
      "hub-unauthorized",
      `The Hub does not know the access token from ${token.source}: it has expired or was mistyped. Make a new one at ${endpoint}/settings/tokens.`,
      { ...details, tokenSource: token.source },
    );
  }
  if (errorCode === "RepoNotFound" || status === 401 || status === 404) {
    // The Hub gives the same answer for a repository that does not exist and for one that this token may not see.
    return new HubNotFoundError(
      "hub-repository-not-found",
      `There is no ${subject.repository.type} ${name} at ${endpoint}, or it is private and not yours to see. ${tokenUsed}`,
      { ...details, tokenSource: token?.source },
    );
  }
  if (status === 403) {
    return new HubAccessError(
      "hub-forbidden",
      `The Hub forbids ${details.url} (403).${serverSays} ${tokenUsed} Check that the token may read ${name}.`,
      { ...details, tokenSource: token?.source },
    );
  }
  return new HubResponseError(
    `The server answered ${status} for ${details.url}.${serverSays} Check HF_ENDPOINT and your proxy.`,
    details,
  );
}
