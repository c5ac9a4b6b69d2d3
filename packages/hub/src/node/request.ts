import type { Readable } from "node:stream";
import { pipeline } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";

import { request, type Dispatcher } from "undici";

import type { Fetch, FetchResponse } from "../transport/fetch.ts";

/**
 * A {@link Fetch} over undici's plain requests: the web streams of its `fetch` cost as much processor time as reading
 * the socket. Redirects are answers, never followed.
 *
 * @param dispatcher holds the connections
 */
export function requestFetch(dispatcher: Dispatcher): Fetch {
  return async (url, { method, headers, body, signal }) => {
    const response = await request(url, {
      dispatcher,
      method,
      headers: { "accept-encoding": "gzip, deflate, br", ...headers },
      body: body ?? null,
      signal,
    });
    const get = (name: string): string | null => {
      const value = response.headers[name];
      return Array.isArray(value) ? value.join(", ") : (value ?? null);
    };
    const decoded = decode(response.body, get("content-encoding"));
    // An aborted request may have no reader any more, and an error that nobody hears ends the process.
    for (const stream of [response.body, decoded]) stream.on("error", () => undefined);
    return { status: response.statusCode, type: "default", url: "", headers: { get }, body: readerOf(decoded) };
  };
}

function decode(body: Readable, encoding: string | null): Readable {
  switch (encoding) {
    case "gzip":
    case "x-gzip":
      return pipeline(body, createGunzip(), () => undefined);
    case "deflate":
      return pipeline(body, createInflate(), () => undefined);
    case "br":
      return pipeline(body, createBrotliDecompress(), () => undefined);
    default:
      return body;
  }
}

function readerOf(stream: Readable): NonNullable<FetchResponse["body"]> {
  const cancel = async (): Promise<void> => void stream.destroy();
  return {
    getReader: () => {
      const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
      const read = async (): Promise<{ done: boolean; value: Uint8Array | undefined }> => {
        const { done = false, value } = await chunks.next();
        return { done, value };
      };
      return { read, cancel };
    },
    cancel,
  };
}
