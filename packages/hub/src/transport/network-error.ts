import { HubNetworkError } from "../errors.ts";
import { rootCause, shownUrl } from "./fetch.ts";

/** Network failures that no retry mends: the certificate of the other side is wrong. */
const finalFailure = /^(?:CERT_|ERR_TLS_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO)/;

/**
 * Whether code runs in a page or a worker of one: a browser, which no environment variable reaches, decides what may be
 * fetched.
 *
 * @param scope the global object by default
 */
export function isPage(scope: object = globalThis): boolean {
  return "document" in scope || "WorkerGlobalScope" in scope;
}

/** Circumstances of a request without an answer. */
export interface Unanswered {
  /** The time limit that ended it, in milliseconds. */
  readonly timedOutAfterMs: number | undefined;
  readonly inPage: boolean;
}

/** What became of a request that no server answered: `hub-timeout` or `hub-unreachable`, with advice for where it ran. */
export function networkError(error: unknown, url: string, { timedOutAfterMs, inPage }: Unanswered): HubNetworkError {
  const shown = shownUrl(url);
  if (timedOutAfterMs !== undefined) {
    const longer = inPage ? "Pass responseTimeoutMs (milliseconds)" : "Set HF_HUB_ETAG_TIMEOUT (seconds)";
    return new HubNetworkError(
      "hub-timeout",
      `${shown} did not answer within ${timedOutAfterMs / 1000} s. ${longer} to wait longer.`,
      { retryable: true, details: { url: shown }, cause: error },
    );
  }
  const { code, message } = rootCause(error);
  const advice = inPage ? pageAdvice(url) : "Check the connection, HTTPS_PROXY and HF_ENDPOINT.";
  return new HubNetworkError("hub-unreachable", `${shown} cannot be reached (${code ?? message}). ${advice}`, {
    retryable: !finalFailure.test(code ?? ""),
    details: { url: shown, code },
    cause: error,
  });
}

/** A browser tells its console, but no program, which of these it was. */
function pageAdvice(url: string): string {
  const { origin, hostname } = new URL(url);
  const others =
    hostname === "huggingface.co" ? "https://*.huggingface.co https://*.hf.co" : "the hosts that it redirects to";
  return (
    `Check that the page is online, that connect-src of its Content-Security-Policy allows ${origin} and ${others}, ` +
    `and that the server allows the page's origin (CORS); the browser's console says which it was.`
  );
}
