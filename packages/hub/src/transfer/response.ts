import { HubIntegrityError, HubResponseError } from "../errors.ts";
import type { RemoteFile } from "../remote-file.ts";
import type { Exchange } from "../transport/transport.ts";
import type { ByteRange } from "./ranges.ts";

/** What to do with a response to a request for a range. */
export type RangeAnswer = "as-asked" | "whole-file";

/**
 * Checks a response's headers against what was asked for: the content is still the one that the commit names, and a
 * 206 holds exactly the range.
 *
 * @param range `undefined` when the whole file was asked for
 * @returns "whole-file" for a 200 to a request for a range: the server ignored it
 * @throws HubIntegrityError "hub-content-changed" when ETag or length belong to other content (416 included: the
 *   server's file is shorter than the commit's), HubResponseError for a 206 that is not the range asked for
 */
export function checkResponse(exchange: Exchange, file: RemoteFile, range: ByteRange | undefined): RangeAnswer {
  const { status, headers, hubHeaders } = exchange;
  // The endpoint's own answer names the content; a storage server behind a redirect has ETags of its own.
  const etag = normalEtag(hubHeaders.get("x-linked-etag") ?? (hubHeaders === headers ? headers.get("etag") : null));
  if (etag !== undefined && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) && etag !== file.etag) {
    throw changed(file, `the Hub now names content ${etag} instead of ${file.etag}`);
  }
  if (status === 416) throw changed(file, `the server says that it has less than the ${file.size} bytes listed`);

  const encoded = !/^(?:identity)?$/i.test(headers.get("content-encoding") ?? "");
  const length = encoded ? null : headers.get("content-length");
  if (range === undefined || status === 200) {
    if (status !== 200) throw badRange(file, `a ${status} to a request for the whole file`);
    if (range === undefined && length !== null && Number(length) !== file.size) {
      throw changed(file, `the server sends ${length} bytes instead of ${file.size}`);
    }
    return range === undefined ? "as-asked" : "whole-file";
  }
  const found = headers.get("content-range") ?? "none";
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(found);
  const right =
    match !== null &&
    Number(match[1]) === range.start &&
    Number(match[2]) === range.end - 1 &&
    (match[3] === "*" || Number(match[3]) === file.size);
  if (!right || encoded) {
    throw badRange(
      file,
      `bytes ${range.start}-${range.end - 1} asked for, "${found}" sent${encoded ? " encoded" : ""}`,
    );
  }
  return "as-asked";
}

/** An entity tag without quotes and weakness mark. */
export function normalEtag(etag: string | null): string | undefined {
  return etag?.replace(/^W\//, "").replaceAll('"', "");
}

/** The content behind a file's address is no longer the one that its commit names. */
export function changed(file: RemoteFile, what: string): HubIntegrityError {
  return new HubIntegrityError(
    "hub-content-changed",
    `${file.path} changed while it was downloaded: ${what}. Nothing is kept; try again.`,
    { path: file.path, etag: file.etag },
  );
}

function badRange(file: RemoteFile, what: string): HubResponseError {
  return new HubResponseError(
    `The server does not answer ranges of ${file.path} as HTTP demands: ${what}. Check your proxy.`,
    { path: file.path },
  );
}
