import { HubNetworkError } from "../errors.ts";
import { rootCause, shownUrl, type FetchResponse } from "./fetch.ts";

/** The bytes of a response, once. Leaving the loop early cancels the request. */
export type Body = AsyncIterable<Uint8Array>;

/** The least that must arrive while we wait three times `stallMs`, 16 KiB: 0.5 kB/s with the usual 10 seconds. */
const leastBytes = 16 * 1024;
const windowStalls = 3;

/**
 * Reads the body of a response. It ends with a retryable {@link HubNetworkError} if no bytes arrive for `stallMs`, if
 * fewer than {@link leastBytes} arrive in three times that, or if the connection breaks.
 *
 * @param options.release called when the request is over, however it ended
 */
export async function* readBody(
  response: FetchResponse,
  controller: AbortController,
  options: { stallMs: number; url: string; release: () => void },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { stallMs, release } = options;
  const url = shownUrl(options.url);
  let lastByte = performance.now();
  let stalled: string | undefined;
  // Since the present window began: the time we waited, before the present wait, and what came.
  let waited = 0;
  let arrived = 0;
  let waiting = false;
  // One slow clock per response: a timer per chunk would cost more than the chunk. It counts only while we wait for
  // the network, not while the reader of this generator is busy writing.
  const clock = setInterval(
    () => {
      if (!waiting) return;
      const silence = performance.now() - lastByte;
      const isSlow = waited + silence >= windowStalls * stallMs;
      if (silence >= stallMs) stalled = `sent nothing for ${stallMs / 1000} s`;
      else if (isSlow && arrived < leastBytes) {
        stalled = `sent only ${arrived} bytes in ${(windowStalls * stallMs) / 1000} s`;
      } else if (isSlow) {
        waited = -silence;
        arrived = 0;
      }
      if (stalled !== undefined) controller.abort();
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
      waited += performance.now() - lastByte;
      arrived += value?.length ?? 0;
      if (done) {
        ended = true;
        return;
      }
      if (value !== undefined) yield value;
    }
  } catch (error) {
    ended = true;
    if (stalled !== undefined) {
      throw new HubNetworkError(
        "hub-stalled",
        `${url} ${stalled}. Set HF_HUB_DOWNLOAD_TIMEOUT (seconds) to wait longer.`,
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
