import type { AccessToken } from "../access-token.ts";
import { HubNameError, HubNetworkError, HubResponseError } from "../errors.ts";
import { readBody, type Body } from "./body.ts";
import { shownUrl, type Fetch, type FetchResponse } from "./fetch.ts";
import { isPage, networkError } from "./network-error.ts";
import { refusalError, type Subject } from "./refusal.ts";
import { withRetries, type RetryNotice, type RetryPolicy } from "./retry.ts";

const maxRedirects = 5;
const redirects = new Set([301, 302, 303, 307, 308]);

/** One request to the Hub or to where it redirects. */
export interface HubRequest {
  readonly url: string;
  readonly subject: Subject;
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal | undefined;
  /** Statuses besides 2xx that are answers rather than failures. */
  readonly accept?: readonly number[];
  readonly policy?: RetryPolicy | undefined;
  readonly onRetry?: ((notice: RetryNotice) => void) | undefined;
}

/** A response whose headers have arrived. Its body must be read to the end, or cancelled. */
export interface Exchange {
  readonly status: number;
  /** Where the response came from, after redirects. */
  readonly url: string;
  readonly headers: { get(name: string): string | null };
  /** The headers of the endpoint's own answer: those of the redirect, when it redirected. */
  readonly hubHeaders: { get(name: string): string | null };
  readonly body: Body;
  /** Ends the request without reading its body. */
  readonly cancel: () => void;
}

/** Settings of a {@link Transport}. */
export interface TransportSettings {
  readonly endpoint: string;
  readonly token: AccessToken | undefined;
  readonly fetch: Fetch;
  readonly userAgent: string | undefined;
  /** How long to wait for a response's headers, in milliseconds. */
  readonly responseTimeoutMs: number;
  /** How long a body may go without a byte, in milliseconds. */
  readonly stallTimeoutMs: number;
  readonly retry: RetryPolicy;
}

/**
 * Sends requests: the token only to the endpoint's own origin, redirects by hand (in browsers, which forbid that, by
 * the browser, which drops the token itself when the origin changes), time limits, retries, typed errors.
 */
export class Transport {
  readonly settings: TransportSettings;
  readonly #origin: string;

  /** @throws HubNameError when the endpoint is not a plain http or https URL */
  constructor(settings: TransportSettings) {
    this.settings = { ...settings, endpoint: parseEndpoint(settings.endpoint) };
    this.#origin = new URL(this.settings.endpoint).origin;
  }

  /** Whether the endpoint itself serves a URL. */
  isEndpoint(url: string): boolean {
    return new URL(url).origin === this.#origin;
  }

  /**
   * Sends a request until its headers arrive with a status that is a success or accepted.
   *
   * @throws HubAccessError, HubNotFoundError, HubNetworkError, HubResponseError; the signal's reason when it aborts
   */
  open(request: HubRequest): Promise<Exchange> {
    return withRetries(() => this.#attempt(request), this.#policy(request), request.signal, request.onRetry);
  }

  /**
   * Sends a request and reads its whole body, of at most `maxBytes`; a body cut off is retried too.
   *
   * @throws as {@link open}
   */
  read(request: HubRequest, maxBytes: number): Promise<{ exchange: Exchange; bytes: Uint8Array<ArrayBuffer> }> {
    const operation = async (): Promise<{ exchange: Exchange; bytes: Uint8Array<ArrayBuffer> }> => {
      const exchange = await this.#attempt(request);
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of exchange.body) {
        length += chunk.length;
        // Decompressed bytes are counted: a small gzip body may unfold into gigabytes.
        if (length > maxBytes) {
          throw new HubResponseError(
            `The answer of ${shownUrl(request.url)} is longer than ${maxBytes} bytes; it is not read further.`,
            { url: shownUrl(request.url), maxBytes },
          );
        }
        chunks.push(chunk);
      }
      const bytes = new Uint8Array(length);
      let at = 0;
      for (const chunk of chunks) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
      return { exchange, bytes };
    };
    return withRetries(operation, this.#policy(request), request.signal, request.onRetry);
  }

  #policy(request: HubRequest): RetryPolicy {
    return request.policy ?? this.settings.retry;
  }

  async #attempt(request: HubRequest): Promise<Exchange> {
    const exchange = await this.#follow(request);
    const { status } = exchange;
    if ((status >= 200 && status < 300) || request.accept?.includes(status) === true) return exchange;
    exchange.cancel();
    const { endpoint, token } = this.settings;
    const { headers, url } = exchange;
    throw refusalError({ status, headers, url, subject: request.subject, endpoint, token });
  }

  async #follow(request: HubRequest): Promise<Exchange> {
    const visited = new Set<string>();
    let url = request.url;
    let hubHeaders: Exchange["hubHeaders"] | undefined;
    for (;;) {
      if (visited.has(url) || visited.size > maxRedirects) {
        throw new HubNetworkError(
          "hub-redirect",
          `${shownUrl(request.url)} redirects ${visited.has(url) ? "in a circle" : `more than ${maxRedirects} times`}. Check HF_ENDPOINT and your proxy.`,
          { details: { url: shownUrl(request.url), visited: [...visited].map(shownUrl) } },
        );
      }
      visited.add(url);
      const { response, controller, release } = await this.#send(url, request);
      if (this.isEndpoint(url)) hubHeaders = response.headers;
      if (!redirects.has(response.status)) {
        // A browser followed the redirects itself: then this is where it ended.
        const end = response.url === "" ? url : response.url;
        const body = readBody(response, controller, { stallMs: this.settings.stallTimeoutMs, url: end, release });
        return {
          status: response.status,
          url: end,
          headers: response.headers,
          hubHeaders: hubHeaders ?? response.headers,
          body,
          cancel: () => {
            release();
            controller.abort();
          },
        };
      }
      release();
      // The body of a redirect is not read; aborting frees the connection.
      controller.abort();
      url = redirectTarget(url, response.headers.get("location"));
    }
  }

  /** One request, until its headers are there. The caller must call `release` when it is done with the response. */
  async #send(
    url: string,
    request: HubRequest,
  ): Promise<{ response: FetchResponse; controller: AbortController; release: () => void }> {
    const { fetch, token, userAgent, responseTimeoutMs } = this.settings;
    const headers: Record<string, string> = { ...request.headers };
    if (userAgent !== undefined) headers["user-agent"] = userAgent;
    if (token !== undefined && this.isEndpoint(url)) headers["authorization"] = token.authorization();

    const controller = new AbortController();
    const { signal } = request;
    const onAbort = (): void => controller.abort(signal!.reason);
    if (signal?.aborted === true) onAbort();
    else signal?.addEventListener("abort", onAbort, { once: true });
    const release = (): void => signal?.removeEventListener("abort", onAbort);

    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      controller.abort();
    }, responseTimeoutMs);
    try {
      const init = { method: request.method ?? "GET", headers, signal: controller.signal };
      const body = request.body === undefined ? {} : { body: request.body };
      let response = await fetch(url, { ...init, ...body, redirect: "manual" });
      if (response.type === "opaqueredirect") response = await fetch(url, { ...init, ...body, redirect: "follow" });
      return { response, controller, release };
    } catch (error) {
      release();
      if (signal?.aborted === true) throw signal.reason;
      throw networkError(error, url, { timedOutAfterMs: timedOut ? responseTimeoutMs : undefined, inPage: isPage() });
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * Checks an endpoint: http or https, no user name, query or fragment; a path is kept (mirrors use one), a slash at
 * the end is dropped.
 *
 * @throws HubNameError
 */
function parseEndpoint(endpoint: string): string {
  let url: URL | undefined;
  try {
    url = new URL(endpoint);
  } catch {
    // Reported below, with the other faults.
  }
  const plain = url !== undefined && url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (url === undefined || !plain || !/^https?:$/.test(url.protocol)) {
    throw new HubNameError(
      `The Hub's endpoint is not a plain http or https URL (found ${shownUrl(endpoint)}). Set HF_ENDPOINT to one like "https://huggingface.co".`,
    );
  }
  return (url.origin + url.pathname).replace(/\/+$/, "");
}

function redirectTarget(from: string, location: string | null): string {
  const fail = (why: string, to: string): HubNetworkError =>
    new HubNetworkError(
      "hub-redirect",
      `${shownUrl(from)} redirects to ${to}: ${why}. Check HF_ENDPOINT and your proxy.`,
      { details: { from: shownUrl(from), to } },
    );
  if (location === null) throw fail("the Location header is missing", "nowhere");
  let target: URL;
  try {
    target = new URL(location, from);
  } catch {
    throw fail("that is not a URL", JSON.stringify(location.slice(0, 100)));
  }
  if (target.protocol !== "https:" && !(target.protocol === "http:" && from.startsWith("http:"))) {
    throw fail("that connection would not be secure", shownUrl(target.href));
  }
  if (target.username !== "" || target.password !== "") throw fail("that URL holds a password", shownUrl(target.href));
  target.hash = "";
  return target.href;
}
