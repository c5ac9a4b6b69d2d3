import type { Content } from "./content.ts";

/** A response before it is sent: what faults change. */
export interface Answer {
  status: number;
  headers: Record<string, string>;
  body: AnswerBody;
  /** Close the connection after so many bytes of the body. */
  cutAfter?: number;
  /** Send nothing more after so many bytes of the body, and keep the connection. */
  stallAfter?: number;
}

export type AnswerBody = Uint8Array | { readonly content: Content; readonly start: number; readonly end: number };

export function json(value: unknown, headers: Record<string, string> = {}): Answer {
  return {
    status: 200,
    headers: { "content-type": "application/json; charset=utf-8", ...headers },
    body: new TextEncoder().encode(JSON.stringify(value)),
  };
}

/** An error as the Hub sends it: a code and a message in headers, the message again in JSON. */
export function failure(status: number, code: string, message: string, headers: Record<string, string> = {}): Answer {
  const coded = code === "" ? {} : { "x-error-code": code };
  return { ...json({ error: message }, { ...coded, "x-error-message": message, ...headers }), status };
}

/** What lets pages of other origins read an answer, as the Hub and its storage send it. */
export const crossOrigin: Readonly<Record<string, string>> = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers":
    "x-repo-commit, x-error-code, x-error-message, etag, link, accept-ranges, content-range, x-linked-size, x-linked-etag, x-xet-hash",
};

/** The answer to a browser that asks whether it may ask. */
export function preflight(): Answer {
  const allowed = "authorization, content-type, range";
  return { status: 204, headers: { "access-control-allow-headers": allowed }, body: new Uint8Array() };
}

export function bodyLength(body: AnswerBody): number {
  return body instanceof Uint8Array ? body.length : body.end - body.start;
}

/** A file or the range of it that a request asks for, as a storage that obeys HTTP answers. */
export function fileAnswer(content: Content, range: string | undefined, headers: Record<string, string>): Answer {
  const { size } = content;
  const match = /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  const base = { "accept-ranges": "bytes", "content-type": "application/octet-stream", ...headers };
  if (match === null) return { status: 200, headers: base, body: { content, start: 0, end: size } };
  const start = Number(match[1]);
  const end = match[2] === "" ? size : Math.min(size, Number(match[2]) + 1);
  if (start >= size || end <= start) {
    return { status: 416, headers: { ...base, "content-range": `bytes */${size}` }, body: new Uint8Array() };
  }
  return {
    status: 206,
    headers: { ...base, "content-range": `bytes ${start}-${end - 1}/${size}` },
    body: { content, start, end },
  };
}
