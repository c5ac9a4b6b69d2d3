import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";

import { InputError, messageOf, systemCode } from "@favor/checkpoints";
import { isGzip, readableFormats } from "./foreign-formats.ts";
import { openRegularFile, unreadable } from "./regular-file.ts";

const otherFile = `Give a file of ${readableFormats}, plain or gzip-compressed.`;

/** One line of a text file, without its line end. */
export interface Line {
  readonly text: string;
  /** Counted from 1. */
  readonly number: number;
}

/** The longest line that is accepted, in characters: far more than a Transformer reads, far less than memory holds. */
export const lineLimit: number = 1024 * 1024;

/**
 * The most blank text between two lines that hold something, in characters. A few kilobytes of gzip unfold into gigabytes
 * of line ends; nobody's data hold so many.
 */
const blankLimit: number = 256 * 1024 * 1024;

/**
 * Streams the lines of a UTF-8 text file, without the blank ones. Gzip compression is recognised by the first bytes, not by
 * the name. A byte-order mark is dropped. Lines end in `\n`, `\r\n`, or `\r` alone. Only one line and one chunk are in
 * memory at a time.
 *
 * @throws {InputError} `file-unreadable`, `data-malformed` (not UTF-8, binary, a broken gzip stream, a line above
 * {@link lineLimit}, more blank lines than {@link blankLimit} allows), naming the line.
 */
export async function* readLines(path: string): AsyncGenerator<Line, void> {
  let number = 1;
  let rest = "";
  let blank = 0;
  for await (const chunk of withoutLoneReturns(decodedText(path, () => number))) {
    const text = rest + chunk;
    let start = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", start)) {
      // A line end straight after another is the commonest blank line, and costs no string.
      const line = end === start ? "" : withoutReturn(text.slice(start, end));
      if (line === "" || line.trim() === "") {
        blank += end + 1 - start;
        if (blank > blankLimit) throw malformed(path, number, `more than ${blankLimit} characters of blank lines`);
      } else {
        blank = 0;
        yield { text: withinLimit(path, number, line), number };
      }
      number++;
      start = end + 1;
    }
    rest = text.slice(start);
    withinLimit(path, number, rest);
  }
  if (rest.trim() !== "") yield { text: rest, number };
}

/** Makes a carriage return that stands alone a line feed. `\r\n` stays, and is never divided between two chunks. */
export async function* withoutLoneReturns(chunks: AsyncIterable<string>): AsyncGenerator<string, void> {
  let held = "";
  for await (const chunk of chunks) {
    const text = held + chunk;
    // The line feed of a pair may come with the next chunk.
    held = text.endsWith("\r") ? "\r" : "";
    const whole = held === "" ? text : text.slice(0, -1);
    yield /\r(?!\n)/.test(whole) ? whole.replaceAll(/\r(?!\n)/g, "\n") : whole;
  }
  if (held !== "") yield "\n";
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

/**
 * Streams a UTF-8 text file, plain or gzip-compressed, in chunks.
 *
 * @param line - the line that was reached, for messages; default: the first.
 * @throws {InputError} `file-unreadable`, `data-malformed` (not UTF-8, binary, a broken gzip stream).
 */
export async function* decodedText(path: string, line: () => number = () => 1): AsyncGenerator<string, void> {
  try {
    for await (const chunk of decodedChunks(path)) {
      if (chunk.includes("\0")) {
        throw malformed(path, line(), "the file contains zero bytes, so it is not a text file", otherFile);
      }
      yield chunk;
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    const code = systemCode(error);
    if (code === "ERR_ENCODING_INVALID_ENCODED_DATA")
      throw malformed(path, line(), "the text is not UTF-8", "Save it as UTF-8, or give another file.");
    if (code !== undefined && /^Z_|^ERR_.*PREMATURE/.test(code)) {
      throw malformed(
        path,
        line(),
        `the gzip stream is damaged or cut off (${messageOf(error)})`,
        "Get or compress the file again.",
      );
    }
    throw unreadable(path, error);
  }
}

async function* decodedChunks(path: string): AsyncGenerator<string, void> {
  const { handle, head } = await openRegularFile(path);
  try {
    const raw = handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 256 * 1024 });
    // `pipeline` passes the read stream's errors on to whoever reads its last stream.
    const bytes = isGzip(head) ? pipeline(raw, createGunzip({ chunkSize: 256 * 1024 }), () => {}) : raw;
    const decoder = new TextDecoder("utf-8", { fatal: true });
    for await (const chunk of bytes as AsyncIterable<Buffer>) yield decoder.decode(chunk, { stream: true });
    yield decoder.decode();
  } finally {
    await handle.close();
  }
}

function withinLimit(path: string, number: number, text: string): string {
  if (text.length > lineLimit) throw malformed(path, number, `the line is longer than ${lineLimit} characters`);
  return text;
}

/** What the `line` of a record counts: lines, rows of a Parquet file, or items of a JSON array. */
export function unitOf(path: string): "line" | "row" | "item" {
  if (/\.parquet$/i.test(path)) return "row";
  return /\.json(?:\.gz)?$/i.test(path) ? "item" : "line";
}

/**
 * The error for a data file that violates its format at a line (in a Parquet file a row, in a JSON array an item).
 *
 * @param advice - what to do; default: correct or remove the line.
 */
export function malformed(path: string, line: number, what: string, advice?: string): InputError {
  const unit = unitOf(path);
  return new InputError(
    `${path}, ${unit} ${line}: ${what}. ${advice ?? `Correct or remove that ${unit} and run again.`}`,
    {
      code: "data-malformed",
      details: { path, line, what },
    },
  );
}
