import { gzipSync } from "node:zlib";

import type { Answer } from "./answer.ts";
import { readWhole } from "./content.ts";

/** Changes an answer before it is sent. */
export type Fault = (answer: Answer) => Answer;

/** The connection breaks after so many bytes of the body. */
export const cut =
  (bytes: number): Fault =>
  (answer) => ({ ...answer, cutAfter: bytes });

/** Nothing comes after so many bytes of the body; the connection stays. */
export const stall =
  (bytes: number): Fault =>
  (answer) => ({ ...answer, stallAfter: bytes });

/** Another status, with headers. */
export const status =
  (code: number, headers: Record<string, string> = {}): Fault =>
  () => ({ status: code, headers, body: new Uint8Array() });

/** Headers replaced or added. */
export const headers =
  (replaced: Record<string, string>): Fault =>
  (answer) => ({ ...answer, headers: { ...answer.headers, ...replaced } });

/** A redirect elsewhere. */
export const redirect = (location: string): Fault => status(302, { location });

/** The whole file with status 200, even if a range was asked for. */
export const ignoreRange: Fault = (answer) => {
  if (answer.status !== 206 || answer.body instanceof Uint8Array) return answer;
  const { "content-range": _, ...rest } = answer.headers;
  const { content } = answer.body;
  return { ...answer, status: 200, headers: rest, body: { content, start: 0, end: content.size } };
};

/** One bit of the body is wrong. */
export const corrupt: Fault = (answer) => {
  const bytes = Uint8Array.from(bytesOf(answer));
  if (bytes.length > 0) bytes[bytes.length >> 1]! ^= 1;
  return { ...answer, body: bytes };
};

/** The body compressed, of unknown length. */
export const gzip: Fault = (answer) => ({
  ...answer,
  headers: { ...answer.headers, "content-encoding": "gzip", "transfer-encoding": "chunked" },
  body: gzipSync(bytesOf(answer)),
});

/** A small compressed body that unfolds to so many zeros. */
export const bomb =
  (bytes: number): Fault =>
  (answer) => ({
    ...answer,
    headers: { ...answer.headers, "content-encoding": "gzip", "transfer-encoding": "chunked" },
    body: gzipSync(new Uint8Array(bytes)),
  });

/** No Content-Length: the body comes in chunks. */
export const noLength: Fault = headers({ "transfer-encoding": "chunked" });

/** Another body. */
export const body =
  (bytes: Uint8Array | string): Fault =>
  (answer) => ({ ...answer, body: typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes });

/** A fault from the command line: `cut:1000`, `stall:1000`, `status:503`, `corrupt`, `gzip`, `ignore-range`, `no-length`. */
export function namedFault(text: string): Fault {
  const [name, value] = text.split(":", 2);
  const isNumbered = name === "cut" || name === "stall" || name === "status";
  const number = Number(value);
  if (isNumbered ? !/^\d+$/.test(value ?? "") : value !== undefined) {
    throw new TypeError(
      isNumbered
        ? `${name}:N takes a whole number (${name === "status" ? "a status such as 503" : "of bytes"}), found ${JSON.stringify(text)}.`
        : `${name} takes no number, found ${JSON.stringify(text)}.`,
    );
  }
  if (name === "status" && (number < 200 || number > 599)) {
    throw new TypeError(`status:N takes a status from 200 to 599, found ${JSON.stringify(text)}.`);
  }
  switch (name) {
    case "cut":
      return cut(number);
    case "stall":
      return stall(number);
    case "status":
      return status(number);
    case "corrupt":
      return corrupt;
    case "gzip":
      return gzip;
    case "ignore-range":
      return ignoreRange;
    case "no-length":
      return noLength;
    default:
      throw new TypeError(
        `Unknown fault ${JSON.stringify(text)}: use cut:N, stall:N, status:N, corrupt, gzip, ignore-range or no-length.`,
      );
  }
}

function bytesOf({ body: sent }: Answer): Uint8Array {
  return sent instanceof Uint8Array ? sent : readWhole(sent.content, sent.start, sent.end);
}
