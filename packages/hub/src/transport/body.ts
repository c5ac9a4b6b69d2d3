import { HubNetworkError } from "../errors.ts";
import { rootCause, shownUrl, type FetchResponse } from "./fetch.ts";

/** The bytes of a response, once. Leaving the loop early cancels the request. */
export type Body = AsyncIterable<Uint8Array>;

/**
 * Reads a response's body. A pause of more than `stallMs` between two chunks, or a cut connection, ends it with a
 * {@link HubNetworkError} that is retryable.
 *
 * @param options.release called once the request is over, however it ends
 */
export async function* readBody(
  response: FetchResponse,
  controller: AbortController,
  options: { stallMs: number; url: string; release: () => void },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { stallMs, release } = options;
  const url = shownUrl(options.url);
  let lastByte = performance.now();
  let stalled = false;
  let waiting = false;
  // One slow clock per response: a timer per chunk would cost more than the chunk. It counts only while we wait for
  // the network, not while the reader of this generator is busy writing.
  const clock = setInterval(
    () => {
      if (!waiting || performance.now() - lastByte < stallMs) return;
      stalled = true;
      controller.abort();
    },
    Math.max(10, Math.min(1000, stallMs / 4)),
  );
  let ended = false;
  try {
    if (response.body === null) {
      ended = true;
      return;
    }
    const reader = response.body.getReader();
    for (;;) {
      waiting = true;
      lastByte = performance.now();
      const { done, value } = await reader.read();
      waiting = false;
      if (done) {
        ended = true;
        return;
      }
      if (value !== undefined) yield value;
    }
  } catch (error) {
    ended = true;
    if (stalled) {
      throw new HubNetworkError(
        "hub-stalled",
        `${url} sent nothing for ${stallMs / 1000} s. Set HF_HUB_DOWNLOAD_TIMEOUT (seconds) to wait longer.`,
        { retryable: true, details: { url }, cause: error },
      );
    }
    if (controller.signal.aborted) throw controller.signal.reason;
    const { code, message } = rootCause(error);
    throw new HubNetworkError(
      "hub-interrupted",
      `The connection to ${url} broke off (${code ?? message}). Check it and run again.`,
      {
        retryable: true,
        details: { url, code },
        cause: error,
      },
    );
  } finally {
    clearInterval(clock);
    release();
    if (!ended) controller.abort();
  }
}
